"""Chains: what is pruned stays exactly 0 through every stage that may follow another.

A stage takes params and their masks and gives the next ones. Codes are the end of
training: every stage that cannot take them says so by the leaf's name.
"""

import functools
import re
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress import distill, optimizers, prune, quantize, storage

STEPS = 4
X = jnp.asarray(np.random.default_rng(0).standard_normal((16, 8)), jnp.float32)
LABELS = jnp.arange(16) % 4


def model(params, x):
    hidden = jax.nn.relu(x.astype(params["in"].dtype) @ params["in"])
    return hidden @ params["out"] + params["bias"][None]


def dense(seed: int) -> dict:
    """Weights between 1/2 and 1 in size, so that 4 bits take none of them for 0."""
    random = np.random.default_rng(seed)

    def leaf(*shape):
        values = random.uniform(0.5, 1, shape) * random.choice([-1, 1], shape)
        return jnp.asarray(values, jnp.float32)

    return {"in": leaf(8, 8), "out": leaf(8, 4), "bias": leaf(4)}


TEACHER = model(dense(1), X)


def own_labels(logits):
    return distill.outputs.hard_targets(logits, LABELS)


def teacher_answers(logits):
    return distill.outputs.soft_targets(logits, TEACHER, temperature=2.0)


def trained(
    optimizer: Callable,
    loss: Callable = own_labels,
    view: Callable = lambda params: params,
    read: Callable = lambda opt_state, params: params,
) -> Callable:
    """A few steps; `read` may take other params out of the state, masked again."""

    @jax.jit
    def stage(params, masks):
        transformation = optimizer(masks)

        def step(carry, _):
            params, opt_state = carry
            grads = jax.grad(lambda params: loss(model(view(params), X)).mean())(params)
            updates, opt_state = transformation.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        start = params, transformation.init(params)
        (params, opt_state), _ = jax.lax.scan(step, start, None, length=STEPS)
        masks = prune.masks_of(opt_state)
        return prune.apply(masks, read(opt_state, params)), masks

    return stage


def held(inner: optax.GradientTransformation) -> Callable:
    return lambda masks: prune.hold(inner, masks)


def sparser(masks):
    """Takes a few more after two steps, unless they are gone already."""
    removed = 1 - jnp.mean(masks["in"])
    return prune.prune(
        optimizers.adamw(0.01, weight_decay=0.1),
        prune.criteria.magnitude(),
        lambda count: jnp.where(jnp.asarray(count) < 2, removed, 0.75),
        when=jc.schedules.every(1),
    )


def pruned_at_once(params, masks):
    del masks
    pruned, _ = prune.one_shot(params, prune.criteria.magnitude(), 0.75)
    return pruned, prune.masks(params, prune.criteria.magnitude(), 0.75)


def narrowed(params, masks):
    is_code = lambda leaf: isinstance(leaf, jc.CompressedLeaf)  # noqa: E731
    return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params, is_leaf=is_code), masks


def stored(params, masks):
    with tempfile.TemporaryDirectory() as folder:
        storage.save(f"{folder}/model.safetensors", params)
        return storage.load(f"{folder}/model.safetensors"), masks


def as_codes(spec: jc.QuantSpec) -> Callable:
    return lambda params, masks: (quantize.quantize(params, spec, masks=masks)[0], masks)


class Stage(NamedTuple):
    """What a stage does, and with what words it refuses codes; "" if it takes them."""

    run: Callable
    refusal: str = ""


QUANTIZED = "it is already QTensor("
COMPRESSED = "cannot be pruned: " + QUANTIZED
STAGES = {
    "one_shot": Stage(pruned_at_once, QUANTIZED),
    "prune": Stage(trained(sparser), QUANTIZED),
    "hold with adamw": Stage(
        trained(held(optimizers.adamw(0.01, weight_decay=0.1))), "hold: leaf 'in' " + COMPRESSED
    ),
    "distill": Stage(
        trained(held(optax.adamw(0.01, weight_decay=0.1)), loss=teacher_answers), COMPRESSED
    ),
    "quantization in training": Stage(
        trained(held(optax.sgd(0.01)), view=quantize.fake_quantize(quantize.int4())), COMPRESSED
    ),
    "mean of params": Stage(
        trained(
            lambda masks: optimizers.averaged(sparser(masks), 0.9),
            read=optimizers.evaluation_params,
        ),
        "averaged: leaf 'in' is a QTensor, whose codes have no gradient.",
    ),
    "schedule-free": Stage(
        trained(held(optimizers.schedule_free_sgd(0.01)), read=optimizers.evaluation_params),
        QUANTIZED,
    ),
    "movement": Stage(
        lambda params, masks: (
            prune.companions.soft_movement(0.0).freeze(
                params, {"in": jnp.where(masks["in"], 1.0, -1.0)}
            ),
            masks,
        ),
        "soft_movement: leaf 'in' " + COMPRESSED,
    ),
    "int8": Stage(as_codes(quantize.int8()), QUANTIZED),
    "int4 in groups": Stage(as_codes(quantize.int4(group_size=4)), QUANTIZED),
    "uint8": Stage(as_codes(quantize.formats.uint8(per="tensor")), QUANTIZED),
    "uint4": Stage(as_codes(quantize.formats.uint4()), QUANTIZED),
    "a file": Stage(stored),
    "materialize": Stage(lambda params, masks: (jc.materialize(params), masks)),
}

# Last or in between only, as all stages would be compiled again for its dtype.
NARROW = {"bfloat16": Stage(narrowed)}


def holds_codes(params) -> bool:
    return any(isinstance(leaf, jc.QTensor) for leaf in params.values())


def assert_pruned(params, masks, before):
    """Weights outside the masks are exactly 0, all others alive, and none came back."""
    for name, leaf in jc.materialize(params).items():
        np.testing.assert_array_equal(leaf != 0, jnp.broadcast_to(masks[name], leaf.shape))
        assert not jnp.any(masks[name] & ~before[name])


@functools.cache
def after(*names: str):
    if not names:
        params = dense(2)
        target = prune.Target(0.5, prune.patterns.n_of_m(2, 4))
        masks = prune.masks(params, prune.criteria.magnitude(), target)
        return prune.apply(masks, params), masks
    return (STAGES | NARROW)[names[-1]].run(*after(*names[:-1]))


@pytest.mark.parametrize("first", STAGES)
def test_every_stage_after_every_other_leaves_zeros_or_says_why_not(first):
    params, masks = after(first)
    assert_pruned(params, masks, after()[1])
    for stage in (STAGES | NARROW).values():
        if holds_codes(params) and stage.refusal:
            with pytest.raises((TypeError, ValueError), match=re.escape(stage.refusal)):
                stage.run(params, masks)
        else:
            end, kept = stage.run(params, masks)
            assert_pruned(end, kept, masks)


CHAINS = [
    ("prune", "quantization in training", "int4 in groups", "a file"),
    ("one_shot", "distill", "mean of params", "bfloat16", "uint8", "a file", "materialize"),
    ("hold with adamw", "int8", "a file", "materialize", "prune", "uint4", "bfloat16", "a file"),
]


@pytest.mark.parametrize("chain", CHAINS, ids=" → ".join)
def test_a_long_chain_leaves_zeros(chain):
    for length in range(1, len(chain) + 1):
        params, masks = after(*chain[:length])
        assert_pruned(params, masks, after(*chain[: length - 1])[1])


def test_masks_that_were_not_applied_are_refused():
    params, masks = dense(2), after()[1]
    with pytest.raises(ValueError, match=r"quantize\(masks=...\): leaf 'in' holds 32 weights out"):
        quantize.quantize(params, quantize.int8(), masks=masks)
