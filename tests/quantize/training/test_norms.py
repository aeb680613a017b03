"""Norms folded in training: the same function and gradients, and what is shipped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcompress as jc
from jaxcompress.quantize import fake_quantize, int8, quantize
from jaxcompress.quantize.training import folded_norms
from tests.inputs import on_device


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return on_device(np.random.default_rng(seed).normal(size=shape))


def convolved(params, x):
    dimensions = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, params["conv"], (1, 1), "SAME", dimension_numbers=dimensions)
    y = y + params["bias"][None, None, None]
    norm = lax.rsqrt(params["var"] + 1e-3) * params["scale"]  # as Flax and Haiku
    y = (y - params["mean"][None, None, None]) * norm[None, None, None]
    return jax.nn.relu(y + params["shift"][None, None, None]).mean((1, 2)) @ params["out"]


def divided(params, x):
    y = (x @ params["conv"] - params["mean"][None]) / jnp.sqrt(params["var"] + 1e-3)[None]
    y = y * params["scale"][None] + params["shift"][None]  # as Equinox
    return jax.nn.relu(y) @ params["out"]


def layer_normed(params, x):
    x = x @ params["conv"]
    y = (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)
    return jnp.tanh((y * params["scale"][None] + params["shift"][None]) @ params["out"])


def stacked(params, x):
    def layer(x, own):
        norm = own["scale"] * lax.rsqrt(own["var"] + 1e-3)
        return jax.nn.relu((x @ own["conv"] - own["mean"][None]) * norm[None]), None

    return lax.scan(layer, x, params["layers"])[0] @ params["out"]


def batch_norm(*kernel: int) -> dict:
    width = kernel[-1]
    sizes = np.geomspace(0.1, 10, width, dtype=np.float32)
    return {
        "conv": jnp.asarray(np.asarray(normal(*kernel)) * sizes),
        "bias": normal(width, seed=1),
        "mean": normal(width, seed=2),
        "var": jnp.abs(normal(width, seed=3)) + 0.1,
        "scale": normal(width, seed=4),
        "shift": normal(width, seed=5),
        "out": normal(width, 3, seed=6),
    }


def layers() -> dict:
    names = ("conv", "mean", "var", "scale")
    each = [batch_norm(6, 6), batch_norm(6, 6)]
    return {
        "layers": {name: jnp.stack([own[name] for own in each]) for name in names},
        "out": normal(6, 3, seed=7),
    }


CASES = {
    "convolution": (convolved, batch_norm(3, 3, 2, 6), normal(2, 4, 4, 2, seed=8)),
    "division": (divided, batch_norm(5, 6), normal(4, 5, seed=8)),
    "layer norm": (layer_normed, batch_norm(5, 6), normal(4, 5, seed=8)),
    "stacked": (stacked, layers(), normal(4, 6, seed=8)),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_outputs_and_gradients_are_those_of_the_model(case):
    fn, params, x = case
    folded = folded_norms(fn, params, x)

    @jax.jit
    def found(params):
        def loss(params, view):
            y = fn(view(params), x)
            return jnp.sum(y * jnp.cos(jnp.arange(y.size, dtype=jnp.float32).reshape(y.shape))), y

        slope = jax.value_and_grad(loss, has_aux=True)
        return [slope(params, view) for view in (lambda params: params, folded)]

    ((_, plain), slopes), ((_, moved), grads) = found(params)
    np.testing.assert_allclose(moved, plain, rtol=1e-4, atol=1e-4)
    for name, slope in jc.named_leaves(slopes).items():
        size = float(jnp.abs(slope).max()) + 1e-6
        np.testing.assert_allclose(
            jc.named_leaves(grads)[name], slope, atol=1e-4 * size, err_msg=name
        )


@pytest.mark.parametrize("case", ["convolution", "division"], indirect=True)
def test_a_batch_norm_multiplies_by_one_behind_its_weights(case):
    fn, params, x = case
    after = folded_norms(fn, params, x)(params)
    root = np.sqrt(np.asarray(params["var"]) + 1e-3)
    by = np.abs(np.asarray(params["scale"])) / root
    np.testing.assert_allclose(after["conv"], np.asarray(params["conv"]) * by, rtol=1e-5)
    np.testing.assert_allclose(after["mean"], params["mean"] * by, rtol=1e-5)
    np.testing.assert_allclose(after["scale"], np.sign(params["scale"]) * root, rtol=1e-5)
    np.testing.assert_array_equal(after["out"], params["out"])


def test_a_layer_norm_goes_into_what_reads_it():
    fn, params, x = CASES["layer norm"]
    after = folded_norms(fn, params, x)(params)
    by = np.abs(np.asarray(params["scale"]))
    np.testing.assert_allclose(after["out"], params["out"] * by[:, None], rtol=1e-5)
    np.testing.assert_allclose(np.abs(after["scale"]), 1.0, rtol=1e-6)


def test_layers_that_are_not_alike_are_folded_each_by_its_own_way():
    fn, params, x = CASES["stacked"]
    own = params["layers"]
    by = np.abs(own["scale"]) / np.sqrt(own["var"] + 1e-3)
    after = folded_norms(fn, params, x)(params)["layers"]
    np.testing.assert_allclose(after["conv"], own["conv"] * by[:, None], rtol=1e-5)
    told, report = jc.quantize.equivalent.fold_norms(fn, params, x)
    np.testing.assert_array_equal(told["layers"]["scale"], np.sign(own["scale"]))
    assert {row.name: row.action for row in report.leaves}["layers/scale"] == "folded"


def test_what_is_shipped_is_what_was_trained(case):
    fn, params, x = case
    spec = int8(per="tensor")
    axes = jc.graph.axes(fn, params, x)
    folded, view = folded_norms(fn, params, x), fake_quantize(spec, axes=axes)

    @jax.jit
    def both(params):
        moved = folded(params)
        stored = jc.materialize(quantize(moved, spec, axes=axes)[0])
        return fn(view(moved), x), fn(stored, x)

    trained, shipped = both(params)
    np.testing.assert_array_equal(trained, shipped)
    ship, _ = quantize(jax.jit(folded)(params), spec, axes=axes)
    np.testing.assert_allclose(jc.materialized(fn)(ship, x), trained, rtol=1e-3, atol=1e-3)


def test_folding_helps_one_scale_for_a_whole_kernel():
    """Channels of very different size share a step; folded they are alike."""
    fn, params, x = CASES["convolution"]
    # As trained: what a channel's kernel is larger by, its variance is too.
    wide = {"var": jnp.geomspace(0.1, 10, 6) ** 2, "scale": jnp.ones(6)}
    params = params | wide
    view = fake_quantize(jc.quantize.int4(per="tensor"), select=jc.matching("conv"))
    folded = folded_norms(fn, params, x)
    before = jnp.square(fn(view(params), x) - fn(params, x)).mean()
    after = jnp.square(fn(view(folded(params)), x) - fn(params, x)).mean()
    assert after < before / 2


def test_scales_that_say_nothing_stay_and_spoil_no_gradient():
    fn, params, x = CASES["division"]
    params = params | {"scale": params["scale"].at[0].set(0.0).at[1].set(jnp.nan)}
    folded = folded_norms(fn, params, x)
    after = folded(params)
    assert after["scale"][0] == 0
    assert np.isnan(after["scale"][1])
    np.testing.assert_array_equal(after["conv"][:, :2], params["conv"][:, :2])
    grads = jax.grad(lambda p: jnp.sum(folded(p)["conv"] + folded(p)["mean"][None]))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_bfloat16_stays():
    fn, params, x = CASES["division"]
    params, x = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (params, x))
    after = jax.jit(folded_norms(fn, params, x))(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(after)} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_allclose(
        fn(after, x).astype(jnp.float32), fn(params, x).astype(jnp.float32), rtol=0.1, atol=0.5
    )


def test_flax_norms_are_folded_with_their_variance():
    nn = pytest.importorskip("flax.linen")

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(4, (3, 3))(x)
            x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
            x = nn.Conv(4, (3, 3), use_bias=False)(x) + x
            x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
            return nn.Dense(3)(x.mean((1, 2)))

    model, x = Model(), normal(2, 6, 6, 3)
    params = jax.tree.map(lambda leaf: leaf + 0.5, model.init(jax.random.key(0), x))

    def fn(params, x):
        return model.apply(params, x)

    after = folded_norms(fn, params, x)(params)
    np.testing.assert_allclose(fn(after, x), fn(params, x), rtol=1e-4)
    first = after["params"]["BatchNorm_0"]["scale"]
    np.testing.assert_allclose(first, np.sqrt(1.5 + 1e-5), rtol=1e-6)


def test_refusals():
    fn, params, x = CASES["division"]
    with pytest.raises(ValueError, match=r"folded_norms\(fn=...\): no weight can take the scale"):
        folded_norms(lambda params, x: x @ params["conv"], params, x)
    with pytest.raises(ValueError, match=r"params=...\) has no leaf 'scale' of shape"):
        folded_norms(fn, params, x)({"conv": params["conv"]})
    with pytest.raises(TypeError, match=r"folded_norms\(fn=3\)"):
        folded_norms(3, params, x)
