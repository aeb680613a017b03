"""Random codes: what a model sees, what is shipped, and training between blocks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress.core.axes import UNUSED
from jaxcompress.core.hashed import places
from jaxcompress.quantize.companions import random_codes

RANDOM = np.random.default_rng(0)
AXES = {
    "kernel": jc.LeafAxes(contracting=(0,), output=(1,)),
    "layers": jc.LeafAxes(contracting=(1,), output=(2,), batch=(0,)),
    "bias": UNUSED,
}
PARAMS = {
    "kernel": jnp.asarray(RANDOM.normal(size=(8, 6)), jnp.float32),
    "layers": jnp.asarray(RANDOM.normal(size=(3, 6, 5)), jnp.bfloat16),
    "bias": jnp.zeros(6),
}
TECHNIQUE = random_codes(2.0, bits=8, seed=3, axes=AXES)
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def both():
    """Companions that were moved, so that no two weights are alike."""
    companions = TECHNIQUE.init(PARAMS)
    logits = {name: each["logits"].shape for name, each in companions.items()}
    moved = {
        name: each | {"logits": jnp.asarray(RANDOM.normal(size=logits[name]), jnp.float32)}
        for name, each in companions.items()
    }
    return PARAMS, moved


def test_companions_begin_at_equal_budgets_and_a_share_of_the_size():
    companions = TECHNIQUE.init(PARAMS)
    assert list(companions) == ["kernel", "layers"]
    assert not any(np.any(each["logits"]) for each in companions.values())
    size = np.sqrt(np.mean(np.float64(PARAMS["layers"]) ** 2, (1, 2)))
    np.testing.assert_allclose(
        companions["layers"]["log_deviation"], np.log(0.5 * size), rtol=1e-5, atol=1e-5
    )
    zeros = TECHNIQUE.init(jax.tree.map(jnp.zeros_like, PARAMS))
    assert np.isfinite(zeros["kernel"]["log_deviation"])
    shapes = jax.eval_shape(TECHNIQUE.init, jax.eval_shape(lambda: PARAMS))
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, companions)
    assert TECHNIQUE.penalty(PARAMS, companions) == 0


def test_what_a_model_sees_is_drawn_with_the_divergence_of_each_block(both):
    """Mean and variance over keys, in the formula of a normal's divergence."""
    keys = jax.random.split(KEY, 20_000)
    draw = jax.jit(jax.vmap(lambda key: TECHNIQUE.view(*both, jc.Step(key=key))["kernel"]))
    seen = np.float64(draw(keys))
    deviation = np.exp(np.float64(both[1]["kernel"]["log_deviation"]))
    mean, variance = seen.mean(0) / deviation, seen.var(0) / deviation**2
    divergence = ((variance + mean**2 - 1 - np.log(variance)) / 2).T.ravel()
    block = np.asarray(places(48, 12, 3)[0])
    held = np.bincount(block, divergence, minlength=12)
    inside = np.bincount(block, minlength=12) > 0
    # A variance of 20,000 draws is known to 1 %.
    np.testing.assert_allclose(held[inside], 7 * np.log(2), rtol=0.03)
    reach = np.abs(mean / np.tanh(np.float64(PARAMS["kernel"]) / deviation))
    assert np.all(reach**2 / 2 < 7 * np.log(2))


def test_what_is_shipped_is_what_the_view_shows_of_encoded_blocks(both):
    step = jc.Step(key=KEY)
    codes = TECHNIQUE.encode(*both, step)

    @jax.jit
    def shown(params, companions, codes):
        leaves = TECHNIQUE.freeze(params, companions, step)
        return TECHNIQUE.view(params, companions, step, codes), jc.materialize(leaves)

    jax.tree.map(np.testing.assert_array_equal, *shown(*both, codes))
    leaves = TECHNIQUE.freeze(*both, codes=codes)
    jax.tree.map(np.testing.assert_array_equal, leaves, TECHNIQUE.freeze(*both, step))
    assert isinstance(leaves["kernel"], jc.RandomCode)
    assert (leaves["kernel"].blocks, leaves["layers"].blocks) == (12, 8)
    assert leaves["layers"].dtype == jnp.bfloat16
    assert leaves["layers"].stacked
    assert leaves["bias"] is PARAMS["bias"]
    shapes = jax.eval_shape(functools.partial(TECHNIQUE.freeze, step=step), *both)
    for shape, part in zip(jax.tree.leaves(shapes), jax.tree.leaves(leaves), strict=True):
        assert (shape.shape, shape.dtype) == (part.shape, part.dtype)


def test_blocks_that_are_encoded_stay_and_the_others_go_on(both):
    params, companions = both
    codes = TECHNIQUE.encode(*both, jc.Step(key=KEY), share=0.5)
    assert {name: int(each.count) for name, each in codes.items()} == {"kernel": 6, "layers": 4}
    block = np.asarray(places(48, 12, 3)[0]).reshape(6, 8).T

    def pulled(params, companions, key):
        seen = TECHNIQUE.view(params, companions, jc.Step(key=key), codes)["kernel"]
        return jnp.sum(seen * PARAMS["kernel"]), seen

    draw = jax.jit(jax.grad(pulled, (0, 1), has_aux=True))
    (by_params, beside), first = draw(params, companions, KEY)
    _, second = draw(params, companions, jax.random.key(6))
    np.testing.assert_array_equal(first == second, block < 6)
    np.testing.assert_array_equal(by_params["kernel"] != 0, block >= 6)
    assert not np.any(np.asarray(beside["kernel"]["logits"])[block < 6])
    assert np.mean(np.asarray(beside["kernel"]["logits"])[block >= 6] != 0) > 0.8
    assert np.isfinite(beside["kernel"]["log_deviation"])
    moved = jax.tree.map(lambda x: x + 1, params)
    later = TECHNIQUE.encode(moved, companions, jc.Step(key=jax.random.key(7)), codes)
    np.testing.assert_array_equal(later["kernel"].indices[:6], codes["kernel"].indices[:6])
    assert np.any(later["kernel"].indices[6:] != codes["kernel"].indices[6:])
    assert int(later["layers"].count) == 8


def test_training_in_rounds_fits_what_few_bits_can_say():
    """A regression on 6 features in 24 inputs, so that weights stand for others."""
    x = np.float32(RANDOM.normal(size=(256, 6)) @ RANDOM.normal(size=(6, 24)))
    truth = np.float32(RANDOM.normal(size=(24, 8)))
    technique = random_codes(1.0, bits=8)
    both = {"kernel": jnp.zeros((24, 8))}, technique.init({"kernel": 0.5 * jnp.asarray(truth)})
    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, 300))

    @jax.jit
    def trained(both, codes, key):
        def step(carry, key):
            both, state = carry

            def loss(both):
                seen = technique.view(*both, jc.Step(key=key), codes)["kernel"]
                return jnp.mean((x @ seen - x @ truth) ** 2)

            updates, state = optimizer.update(jax.grad(loss)(both), state)
            return (optax.apply_updates(both, updates), state), None

        return jax.lax.scan(step, (both, optimizer.init(both)), jax.random.split(key, 300))[0][0]

    def error(params) -> float:
        array = np.float64(params["kernel"].materialize())
        return float(np.mean((x @ array - x @ truth) ** 2) / np.mean((x @ truth) ** 2))

    codes = technique.encode(*both, jc.Step(key=KEY), share=0.0)
    both = trained(trained(both, codes, KEY), codes, jax.random.key(1))
    at_once = error(technique.freeze(*both, jc.Step(key=KEY)))
    for number in range(1, 5):
        step = jc.Step(number, jax.random.fold_in(KEY, number))
        codes = technique.encode(*both, step, codes, number / 4)
        if number < 4:
            both = trained(both, codes, step.key)
    assert error(technique.freeze(*both, codes=codes)) < 0.7 * at_once < 0.4


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_training_and_encoding_lower_for_accelerators_in_every_mode(both, platform):
    def step(params, companions, key):
        grads = jax.grad(lambda params: jnp.sum(seen(params, companions, key)))(params)
        return grads, TECHNIQUE.freeze(params, companions, jc.Step(key=key))

    def seen(params, companions, key):
        return TECHNIQUE.view(params, companions, jc.Step(key=key))["kernel"]

    with (
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.enable_x64(True),
    ):
        traced = jax.jit(step).trace(*both, KEY)
        assert traced.lower(lowering_platforms=(platform,)).as_text()
        _, leaves = jax.eval_shape(step, *both, KEY)
        assert leaves["kernel"].scale.dtype == jnp.float32


def test_rules_give_leaves_their_rates():
    rates = jc.Rules({"kernel": 4.0, "bias": 1.0})
    technique = random_codes(rates, bits=8, axes=AXES, select=jc.everything())
    leaves = jax.eval_shape(
        lambda: technique.freeze(PARAMS, technique.init(PARAMS), jc.Step(key=KEY))
    )
    assert {name: getattr(leaf, "blocks", None) for name, leaf in leaves.items()} == {
        "kernel": 24,
        "layers": None,
        "bias": 1,
    }


REFUSED = [
    (ValueError, r"random_codes\(rate=0\) must be above 0", lambda: random_codes(0)),
    (ValueError, r"random_codes\(bits=25\) must be at most 24", lambda: random_codes(1, bits=25)),
    (ValueError, "spare", lambda: random_codes(1, bits=8, spare=8)),
    (ValueError, "seed", lambda: random_codes(1, seed=2**32)),
    (ValueError, "Begin with init", lambda: TECHNIQUE.view(PARAMS, {})),
    (
        ValueError,
        "no leaf 'bias'",
        lambda: TECHNIQUE.view(PARAMS, {"bias": TECHNIQUE.init(PARAMS)["kernel"]}),
    ),
    (
        ValueError,
        r"beside leaf 'kernel' has shapes .* Begin with init",
        lambda: TECHNIQUE.freeze(PARAMS, {"kernel": jnp.ones(3)}),
    ),
    (ValueError, "was given no key", lambda: TECHNIQUE.view(PARAMS, TECHNIQUE.init(PARAMS))),
    (
        ValueError,
        r"encode\(share=1.5\)",
        lambda: TECHNIQUE.encode(PARAMS, TECHNIQUE.init(PARAMS), share=1.5),
    ),
]


@pytest.mark.parametrize(("error", "message", "make"), REFUSED, ids=[row[1] for row in REFUSED])
def test_what_is_refused(error, message, make):
    with pytest.raises(error, match=message):
        make()
