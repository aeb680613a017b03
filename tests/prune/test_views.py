"""Views against NumPy: what the model sees, and what gradient the weights get."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress import prune
from tests.inputs import TREES

PAIRS = prune.views.by_magnitude(prune.Target(0.5, prune.patterns.n_of_m(1, 2)))
DTYPES = (jnp.float32, jnp.bfloat16, jnp.float16)


def kernels(seed: int) -> dict:
    random = np.random.default_rng(seed)
    values = random.standard_normal((4, 3)).astype("f4")
    return {np.dtype(dtype).name: jnp.asarray(values, dtype) for dtype in DTYPES}


def larger_of_pairs(w):
    """True where a weight is the larger of two along the inputs, by a loop."""
    keep = np.zeros(w.shape, bool)
    for column in range(w.shape[1]):
        for row in range(0, w.shape[0], 2):
            keep[row + int(abs(w[row + 1, column]) > abs(w[row, column])), column] = True
    return keep


@jax.jit
def seen(params, pulls):
    views = prune.views.straight_through(PAIRS), prune.views.sr_ste(PAIRS, decay=0.25)

    def loss(view, params):
        return sum(
            jnp.sum((view(params)[name] * pulls[name]).astype(jnp.float32)) for name in params
        )

    return [
        (view(params), jax.grad(lambda params, view=view: loss(view, params))(params))
        for view in views
    ]


def test_the_model_sees_zeros_and_all_weights_get_the_gradient():
    params, pulls = kernels(0), kernels(1)
    for decay, (values, grads) in zip((0.0, 0.25), seen(params, pulls), strict=True):
        for name, leaf in params.items():
            w, keep = np.asarray(leaf, np.float64), larger_of_pairs(np.asarray(leaf, np.float64))
            np.testing.assert_array_equal(values[name], np.where(keep, w, 0))
            assert values[name].dtype == grads[name].dtype == leaf.dtype
            expected = np.asarray(pulls[name], np.float64) + decay * np.where(keep, 0, w)
            # The pull and the sum are rounded, each once; all terms are below 4.
            atol = 4 * float(jnp.finfo(leaf.dtype).eps)
            np.testing.assert_allclose(np.asarray(grads[name], "f8"), expected, rtol=0, atol=atol)


def test_masked_weights_fade_and_return_when_they_are_worth_more():
    view = prune.views.sr_ste(prune.views.by_magnitude(0.5), decay=0.5)
    slope = jax.jit(jax.grad(lambda params, pull: jnp.sum(view(params)["kernel"] * pull)))
    params = {"kernel": jnp.array([[1.0, 2.0]])}
    for _ in range(3):
        params = {"kernel": params["kernel"] - slope(params, jnp.zeros((1, 2)))["kernel"]}
    assert params["kernel"].tolist() == [[0.125, 2.0]]
    params = {"kernel": params["kernel"] - slope(params, jnp.array([[-3.0, 0.0]]))["kernel"]}
    assert view(params)["kernel"].tolist() == [[3.0625, 0.0]]


@pytest.mark.parametrize("name", TREES)
def test_every_container_is_viewed(name):
    params = TREES[name]()
    expected = prune.apply(prune.masks(params, prune.criteria.magnitude(), 0.5), params)
    shown = prune.views.straight_through(prune.views.by_magnitude(0.5))(params)
    jax.tree.map(np.testing.assert_array_equal, shown, expected)


def test_a_traced_sparsity_and_known_masks():
    params = {"kernel": jnp.array([[1.0, 2.0, 3.0, 4.0]])}
    masking = jax.jit(lambda params, sparsity: prune.views.by_magnitude(sparsity)(params))
    kept = [int(masking(params, sparsity)["kernel"].sum()) for sparsity in (0.0, 0.5, 0.75)]
    assert kept == [4, 2, 1]
    known = {"kernel": jnp.array([[True, False, True, False]])}
    shown = prune.views.straight_through(lambda params: known)(params)
    assert shown["kernel"].tolist() == [[1.0, 0.0, 3.0, 0.0]]


def test_surgery_equals_the_oracle_and_has_a_band_in_which_nothing_changes():
    random = np.random.default_rng(0)
    w = random.standard_normal((5, 6)).astype("f4")
    mask = random.random((5, 6)) < 0.5
    masks = {"kernel": jnp.asarray(mask), "bias": jnp.array(True)}
    params = {"kernel": jnp.asarray(w), "bias": jnp.ones(2)}
    new = prune.views.surgery(masks, params, deviations=0.3, margin=0.4)
    size = np.abs(w.astype(np.float64))
    threshold = size.mean() + 0.3 * size.std()
    expected = mask.copy()
    for place in np.ndindex(w.shape):
        if size[place] < 0.6 * threshold:
            expected[place] = False
        elif size[place] >= 1.4 * threshold:
            expected[place] = True
    np.testing.assert_array_equal(new["kernel"], expected)
    between = (size >= 0.6 * threshold) & (size < 1.4 * threshold)
    assert {True, False} == set(mask[between].tolist())
    assert bool(new["bias"])


REFUSED = {
    "decay": (lambda: prune.views.sr_ste(PAIRS, decay=-1.0), "sr_ste(decay=-1.0) must be in"),
    "margin": (
        lambda: prune.views.surgery({}, {}, deviations=0.0, margin=1.0),
        "surgery(margin=1.0) must be in",
    ),
    "sparsity": (lambda: prune.views.by_magnitude(1.0), "by_magnitude(target=1.0) must be"),
    "masks": (
        lambda: prune.views.straight_through(lambda params: {})({"kernel": jnp.ones(2)}),
        "straight_through(masks=...) has no mask for leaf 'kernel'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_a_schedule_is_refused():
    with pytest.raises(TypeError, match=r"by_magnitude: the target's sparsity .* is a schedule"):
        prune.views.by_magnitude(jc.schedules.cubic(0.0, 0.5, begin=0, end=1))
