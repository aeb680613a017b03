"""Codebooks that are trained: gradients by hand, shipped bits, a soft prior."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress.quantize import formats, quantize, rounding, sharing
from jaxcompress.quantize.sharing import starts

RANDOM = np.random.default_rng(0)
WEIGHT = np.where(RANDOM.random((12, 8)) < 0.3, 0, RANDOM.normal(size=(12, 8))).astype("f4")
PARAMS = {"w": jnp.asarray(WEIGHT), "b": jnp.ones(8)}
PULL = RANDOM.normal(size=WEIGHT.shape).astype(np.float32)
SPECS = [formats.codebook(2, per="tensor"), formats.codebook(3), formats.codebook(2, group_size=4)]


def clustered(spec):
    return quantize(PARAMS, spec, rounding=rounding.nearest(sharing.k_means()))[0]


def by_level(leaf, values):
    """Sums of values over the weights of each code of each block, as codebooks lie."""
    codes, sums = np.asarray(leaf.unpacked_codes), np.zeros(leaf.codebook.shape)
    for place, code in np.ndenumerate(codes):
        block = [
            at * count // size
            for at, count, size in zip(place, leaf.scale.shape, codes.shape, strict=True)
        ]
        sums[(*block, code)] += values.T[place]
    return sums


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_level_has_the_summed_gradient_of_its_members(spec):
    small, technique = clustered(spec), sharing.centroids()
    levels = technique.init(small)
    assert list(levels) == ["w"]
    fn = jc.materialized(lambda params: jnp.sum(params["w"] * PULL))
    grads = jax.jit(jax.grad(lambda levels: fn(technique.view(small, levels))))(levels)
    expected = by_level(small["w"], PULL)[..., 1:]
    np.testing.assert_allclose(grads["w"], expected, rtol=1e-5, atol=1e-5)
    # In place, they are the leaf as it was, and through the leaf's own child alike.
    same = technique.freeze(small, levels)
    jax.tree.map(np.testing.assert_array_equal, same, small)


def test_only_codebooks_move_and_zeros_stay():
    small, technique = clustered(SPECS[0]), sharing.centroids()
    fn = jc.materialized(lambda params: jnp.mean(jnp.square(params["w"] - WEIGHT - 0.1)))
    levels, optimizer = technique.init(small), optax.adam(0.02)

    @jax.jit
    def step(carry, _):
        levels, state = carry
        loss, grads = jax.value_and_grad(lambda each: fn(technique.view(small, each)))(levels)
        updates, state = optimizer.update(grads, state, levels)
        return (optax.apply_updates(levels, updates), state), loss

    (levels, _), losses = jax.lax.scan(step, (levels, optimizer.init(levels)), None, length=30)
    tuned = technique.freeze(small, levels)
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(tuned["w"].codes, small["w"].codes)
    np.testing.assert_array_equal(tuned["b"], small["b"])
    assert np.all(np.asarray(tuned["w"].materialize())[WEIGHT == 0] == 0)
    assert np.any(tuned["w"].codebook != small["w"].codebook)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_what_was_trained_is_what_is_shipped(spec):
    technique = sharing.learned_codebooks(spec)
    levels = technique.init(PARAMS)
    moved = jax.tree.map(lambda each: each * 1.1 + 0.01, levels)
    shipped = technique.freeze(PARAMS, moved)
    seen = jax.jit(technique.view)(PARAMS, moved)
    formed = jax.jit(jc.materialize)(shipped)
    jax.tree.map(np.testing.assert_array_equal, formed, seen)
    np.testing.assert_array_equal(seen["b"], PARAMS["b"])
    assert np.all(np.asarray(seen["w"])[WEIGHT == 0] == 0)
    begun = jax.jit(jc.materialize)(technique.freeze(PARAMS, levels))
    np.testing.assert_array_equal(begun["w"], clustered(spec)["w"].materialize())
    shapes = jax.eval_shape(technique.init, jax.eval_shape(lambda: PARAMS))
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, levels)


def test_weights_learn_straight_through_and_levels_by_their_members():
    spec = SPECS[1]
    technique = sharing.learned_codebooks(spec)
    levels = technique.init(PARAMS)

    def loss(params, levels):
        return jnp.sum(technique.view(params, levels)["w"] * PULL)

    by_weight, by_own = jax.jit(jax.grad(loss, (0, 1)))(PARAMS, levels)
    np.testing.assert_array_equal(by_weight["w"], PULL)
    sums = by_level(technique.freeze(PARAMS, levels)["w"], PULL)[..., 1:]
    # Companions lie as the leaf does, (inputs, outputs); a leaf stores outputs first.
    np.testing.assert_allclose(np.swapaxes(by_own["w"], 0, 1), sums, rtol=1e-5, atol=1e-5)


def test_learned_codebooks_of_layers_and_other_starts():
    stack = {"w": jnp.stack([PARAMS["w"], 2 * PARAMS["w"]])}
    axes = {"w": jc.LeafAxes(contracting=(1,), output=(2,), batch=(0,))}
    technique = sharing.learned_codebooks(SPECS[0], axes=axes, start=starts.density())
    levels = technique.init(stack)
    assert levels["w"].shape == (2, 1, 1, 3)
    leaf = technique.freeze(stack, levels)["w"]
    assert leaf.stacked
    np.testing.assert_allclose(leaf.materialize()[1], 2 * leaf.materialize()[0], rtol=1e-6)


SOFT = sharing.soft_sharing(SPECS[0], zero_share=0.5)


def test_the_penalty_is_that_of_a_plain_loop():
    mixtures = SOFT.init(PARAMS)
    mixture = mixtures["w"]._replace(logits=jnp.float32([[[0.1, -0.3, 0.5]]]))
    w = np.float64(WEIGHT).ravel()[:, None]
    means = np.append(0, np.float64(mixture.means))
    logs = np.float64(mixture.log_precisions).ravel()
    raised = np.exp(np.float64(mixture.logits).ravel())
    shares = np.append(0.5, 0.5 * raised / raised.sum())
    normal = np.sqrt(np.exp(logs) / (2 * np.pi)) * np.exp(-np.exp(logs) / 2 * (w - means) ** 2)
    expected = -np.log((shares * normal).sum(1)).sum()
    expected -= 4999 * logs[0] - 2 * np.exp(logs[0])
    expected -= np.sum(249 * logs[1:] - 0.1 * np.exp(logs[1:]))
    found = SOFT.penalty(PARAMS, {"w": mixture})
    np.testing.assert_allclose(found, expected / w.size, rtol=1e-5)


def test_weights_gather_at_zero_and_at_the_means():
    centers = np.float32([-1, 0, 0.5, 1])
    places = RANDOM.integers(0, 4, (12, 8))
    weights = jnp.asarray(centers[places] + 0.1 * RANDOM.normal(size=(12, 8)), jnp.float32)
    prior = sharing.Gamma(3.0, 0.01)
    technique = sharing.soft_sharing(
        SPECS[1], select=jc.matching("w"), zero_share=0.4, zero_precision=prior, precision=prior
    )
    both, optimizer = ({"w": weights}, technique.init({"w": weights})), optax.adam(0.01)

    def loss(both):
        return 50 * jnp.mean(jnp.square(both[0]["w"] - weights)) + technique.penalty(*both)

    @jax.jit
    def trained(both):
        def step(carry, _):
            updates, state = optimizer.update(jax.grad(loss)(carry[0]), carry[1], carry[0])
            return (optax.apply_updates(carry[0], updates), state), None

        return jax.lax.scan(step, (both, optimizer.init(both)), None, length=300)[0][0]

    def off(both):
        """How far weights are from what they are shipped as."""
        return jnp.std(both[0]["w"] - technique.freeze(*both)["w"].materialize())

    after = trained(both)
    assert off(after) < 0.5 * off(both)
    shipped = np.asarray(technique.freeze(*after)["w"].materialize())
    assert np.mean(shipped[places == 1] == 0) > 0.8
    assert np.mean(np.abs(shipped - centers[places])) < 0.1


PLAIN = {"w": jnp.ones((4, 4))}
LEARNED = sharing.learned_codebooks(SPECS[0])
REFUSED = [
    (lambda: sharing.centroids().init(PLAIN), "centroids().init(params): no leaf stores levels"),
    (lambda: sharing.centroids().view(PLAIN, {}), "centroids(companions={}) is empty"),
    (
        lambda: sharing.centroids().view(clustered(SPECS[0]), {"w": jnp.ones((1, 1, 4))}),
        "stands beside leaf 'w' has shape (1, 1, 4)",
    ),
    (
        lambda: sharing.learned_codebooks(formats.int4()).init(PLAIN),
        "learned_codebooks: int4 per channel stores no levels",
    ),
    (
        lambda: LEARNED.view(PLAIN, {"w": jnp.ones((1, 1, 4))}),
        "the levels of leaf 'w' have shape (1, 1, 4), and must have (1, 1, 3)",
    ),
    (lambda: LEARNED.view(PARAMS, {"b": jnp.ones(3)}), "leaf 'b' gets no codebook"),
    (lambda: LEARNED.view(PARAMS, {"v": jnp.ones(3)}), "there is no leaf 'v'"),
    (lambda: sharing.soft_sharing(SPECS[0], zero_share=1.0), "soft_sharing(zero_share=1.0)"),
    (
        lambda: sharing.soft_sharing(SPECS[0], precision=sharing.Gamma(1.0, 0.0)),
        "soft_sharing(precision.rate=0.0) must be above 0",
    ),
    (lambda: SOFT.penalty(PARAMS, {}), "soft_sharing(companions={}) is empty"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[row[1] for row in REFUSED])
def test_refusals_say_what_and_why(call, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call()
    assert message in str(caught.value)
