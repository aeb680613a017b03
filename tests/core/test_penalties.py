"""Penalties against loops over groups, the proximal step against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core import penalties
from tests.inputs import ARRAYS

EPSILON = float(np.finfo(np.float32).eps)
WITHIN = {
    "all equal": (0,),
    "all zeros": (0,),
    "bfloat16": (1,),
    "convolution": (0, 1, 2),
    "empty": (0,),
    "float16": (0,),
    "layers": (1,),
    "no group divides": (0,),
    "one entry": (0,),
    "one huge outlier": (0,),
    "scalar": (),
    "subnormal": (0,),
}
every_array = pytest.mark.parametrize("name", WITHIN)


def groups(name):
    """Each group of the array as float64, in order."""
    x, within = np.asarray(ARRAYS[name], np.float64), WITHIN[name]
    free = [axis for axis in range(x.ndim) if axis not in within]
    rows = x.transpose(*free, *within)
    return rows.reshape(int(np.prod([x.shape[axis] for axis in free])), -1)


def flattened(name, array):
    """The rows of `groups`, of another array of the same shape."""
    within = WITHIN[name]
    free = [axis for axis in range(array.ndim) if axis not in within]
    count = int(np.prod([array.shape[axis] for axis in free]))
    return np.asarray(array, np.float64).transpose(*free, *within).reshape(count, -1)


def test_every_awkward_array_is_tried():
    assert WITHIN.keys() == ARRAYS.keys()


def rounding(name):
    """Squares, their sum and a root: each term rounds, and the sum once per term."""
    return (8 + groups(name).shape[1]) * EPSILON


# What is below float32's normal range is flushed to zero on some devices.
SMALLEST = float(np.finfo(np.float32).tiny)


@every_array
def test_norms_of_every_group(name):
    x, within = jnp.asarray(ARRAYS[name]), WITHIN[name]
    norms = penalties.group_norms(x, within)
    assert norms.dtype == jnp.float32
    assert norms.shape == tuple(1 if axis in within else n for axis, n in enumerate(x.shape))
    expected = [np.sqrt(np.sum(group**2)) for group in groups(name)]
    np.testing.assert_allclose(norms.reshape(-1), expected, rtol=rounding(name), atol=2 * SMALLEST)


@every_array
def test_the_lasso_adds_them_by_size(name):
    x, within = jnp.asarray(ARRAYS[name]), WITHIN[name]
    expected = sum(np.sqrt(len(group)) * np.sqrt(np.sum(group**2)) for group in groups(name))
    value = penalties.group_lasso(x, within)
    assert (value.shape, value.dtype) == ((), jnp.float32)
    tolerance = rounding(name) + len(groups(name)) * EPSILON
    np.testing.assert_allclose(value, expected, rtol=tolerance, atol=100 * SMALLEST)


@every_array
def test_the_subgradient_points_along_the_group(name):
    x, within = jnp.asarray(ARRAYS[name]), WITHIN[name]
    gradient = penalties.group_lasso_subgradient(x, within)
    assert gradient.shape == x.shape
    assert gradient.dtype == jnp.float32
    for row, group in zip(flattened(name, gradient), groups(name), strict=True):
        norm = np.sqrt(np.sum(group**2))
        if norm < SMALLEST:
            continue
        np.testing.assert_allclose(
            row, np.sqrt(len(group)) * group / norm, rtol=2 * rounding(name), atol=SMALLEST
        )
    assert bool(jnp.all(jnp.isfinite(gradient)))


def test_the_subgradient_is_that_of_the_value():
    x = jnp.asarray(ARRAYS["no group divides"])
    automatic = jax.grad(lambda x: penalties.group_lasso(x, (0,)))(x)
    # Differentiated through scaling by the largest entry: a few more roundings.
    np.testing.assert_allclose(
        penalties.group_lasso_subgradient(x, (0,)), automatic, rtol=0, atol=64 * EPSILON
    )


def test_a_silent_group_has_no_gradient():
    x = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    assert penalties.group_lasso_subgradient(x, (0,))[:, 1].tolist() == [0.0, 0.0]


@every_array
@pytest.mark.parametrize("threshold", [0.0, 0.3, 1e6])
def test_the_proximal_step_in_closed_form(name, threshold):
    x, within = jnp.asarray(ARRAYS[name]), WITHIN[name]
    shrunk = penalties.shrink_groups(x, threshold, within)
    assert shrunk.shape == x.shape
    assert shrunk.dtype == jnp.float32
    for row, group in zip(flattened(name, shrunk), groups(name), strict=True):
        norm, cut = np.sqrt(np.sum(group**2)), threshold * np.sqrt(len(group))
        # Absolute in the norm: near the threshold the share is a difference of equals.
        expected = group * max(0.0, 1 - cut / norm) if norm > 0 else group
        tolerance = 4 * rounding(name) * np.abs(group).max(initial=0.0) + SMALLEST
        np.testing.assert_allclose(row, expected, rtol=0, atol=tolerance)


def test_the_proximal_step_is_the_least_of_its_definition():
    """No nearby point is better: the objective is convex, so none at all is."""
    random = np.random.default_rng(0)
    x, threshold = random.standard_normal((4, 3)), 0.4

    def objective(w):
        lasso = sum(2 * np.linalg.norm(column) for column in w.T)
        return np.sum((w - x) ** 2) / 2 + threshold * lasso

    best = np.asarray(penalties.shrink_groups(jnp.asarray(x, jnp.float32), threshold, (0,)))
    least = objective(best.astype(np.float64))
    for step in (1e-3, 1e-1, 1.0):
        for _ in range(50):
            moved = objective(best + step * random.standard_normal(x.shape))
            assert moved >= least - 1e-6


def test_groups_at_the_threshold_are_exactly_zero():
    x = jnp.array([[3.0, 3.1], [4.0, 4.1]])
    shrunk = penalties.shrink_groups(x, 5 / 2**0.5 * (1 + 1e-6), (0,))
    assert shrunk[:, 0].tolist() == [0.0, 0.0]
    assert bool(jnp.all(shrunk[:, 1] > 0))


def test_half_precision_neither_overflows_nor_vanishes():
    for value in (6e4, 6e-8):
        x = jnp.full((300, 1), value, jnp.float16)
        expected = float(x[0, 0]) * 300**0.5
        np.testing.assert_allclose(penalties.group_norms(x, (0,)), [[expected]], rtol=1e-5)


@pytest.mark.parametrize("threshold", [-1.0, float("nan"), float("inf")])
def test_a_threshold_that_would_lengthen_is_refused(threshold):
    with pytest.raises(
        ValueError, match=rf"^shrink_groups\(threshold={threshold}\) must be finite"
    ):
        penalties.shrink_groups(jnp.ones((2, 2)), threshold, (0,))
