"""One jitted step: hints from inside two CNNs, pruning and quantized weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc

BATCH = 8


def convolved(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def model(params, x):
    x = jax.nn.relu(convolved(x, params["stem"]))  # (batch, 4, 4, width)
    x = jax.nn.relu(convolved(x, params["body"]))  # (batch, 2, 2, 2 · width)
    return x.mean(axis=(1, 2)) @ params["head"]


def initial(seed, width):
    random = np.random.default_rng(seed)

    def leaf(*shape):
        scale = np.prod(shape[:-1]) ** -0.5
        return jnp.asarray(scale * random.standard_normal(shape), jnp.float32)

    return {
        "stem": leaf(3, 3, 3, width),
        "body": leaf(3, 3, width, 2 * width),
        "head": leaf(2 * width, 4),
    }


def test_hints_go_with_pruning_and_quantization_in_one_trace():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((BATCH, 8, 8, 3)), jnp.float32)
    teacher, student = initial(1, 8), initial(2, 4)
    spec = jc.quantize.int8()
    axes = jc.graph.axes(model, student, x)
    view = jc.quantize.fake_quantize(spec, axes=axes)
    # What the next layer reads, after the activation: the sites of body and head.
    captured = jc.graph.capture(model, jc.Rules({"body": jc.graph.inputs, "head": jc.graph.inputs}))
    wanted, hidden = jax.jit(captured)(teacher, x)
    hints = jc.distill.features.projected()
    start = hints.init(jax.random.key(0), (1, 4, 4, 4), hidden["body"])
    optimizer = optax.partition(
        {
            "student": jc.prune.prune(optax.adam(1e-2), jc.prune.criteria.magnitude(), 0.5),
            "hints": optax.adam(1e-2),
        },
        ("student", "hints"),
    )
    traces = []

    def objective(both):
        params, projection = both
        logits, own = captured(view(params), x)
        losses = (
            jc.distill.outputs.soft_targets(logits, wanted, temperature=2.0)
            + hints.loss(projection, own["body"], hidden["body"])
            + jc.distill.features.attention_transfer(own["body"], hidden["body"])
            + jc.distill.relations.relative_distances(own["head"], hidden["head"])
        )
        return losses.mean()

    @jax.jit
    def step(both, state):
        traces.append(None)
        loss, grads = jax.value_and_grad(objective)(both)
        updates, state = optimizer.update(grads, state, both)
        return optax.apply_updates(both, updates), state, loss

    both, state, losses = (student, start), optimizer.init((student, start)), []
    for _ in range(10):
        both, state, loss = step(both, state)
        losses.append(float(loss))
    assert len(traces) == 1
    assert losses[-1] < losses[0]
    params, projection = both
    assert np.any(projection["kernel"] != start["kernel"])
    assert {name: float(jnp.mean(leaf == 0)) for name, leaf in params.items()} == {
        "stem": 0.5,
        "body": 0.5,
        "head": 0.5,
    }
    shipped, _ = jc.quantize.quantize(params, spec, axes=axes)  # without the projection
    np.testing.assert_array_equal(jc.materialize(shipped)["body"], jax.jit(view)(params)["body"])
