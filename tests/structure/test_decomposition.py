"""Factors of one matrix: best of their rank, plain and weighted by the inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.structure.decomposition import per_tap, plain, square_root, weighted

EPSILON = float(np.finfo(np.float32).eps)
SHAPES = [(5, 7), (7, 5), (4, 4), (1, 6), (3, 5, 4), (2, 2, 3, 6)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def inputs(size, rows=200, seed=3):
    """Data whose directions differ a hundredfold in energy."""
    return normal(rows, size, seed=seed) @ np.diag(np.logspace(0, -1, size)) @ normal(size, size)


def covariance(x):
    return x.T @ x / len(x)


def approximation(found, rank):
    left, right = (np.asarray(factor, np.float64) for factor in found.factors(rank))
    return left @ right


def approximations(weight, ranks, *weighting):
    """The product of the factors at each rank, all of them from one program."""

    def factors(weight, *weighting):
        found = weighted(weight, weighting[0], 1e-6) if weighting else plain(weight)
        return [found.factors(rank) for rank in ranks]

    arrays = [jnp.asarray(array, jnp.float32) for array in (weight, *weighting)]
    found = jax.jit(factors)(*arrays)
    return [np.asarray(left, np.float64) @ np.asarray(right, np.float64) for left, right in found]


def squared(x):
    return np.sum(np.square(x), axis=(-2, -1))


@every_shape
def test_plain_factors_leave_out_the_smallest_singular_values(shape):
    weight = normal(*shape)
    values = np.linalg.svd(weight, compute_uv=False)
    ranks = range(1, min(shape[-2:]) + 1)
    for rank, product in zip(ranks, approximations(weight, ranks), strict=True):
        error = squared(weight - product)
        tail = np.sum(values[..., rank:] ** 2, axis=-1)
        # Rounding the factors moves the product by some epsilons.
        np.testing.assert_allclose(error, tail, rtol=0, atol=1e3 * EPSILON * squared(weight).max())


@every_shape
def test_full_rank_is_exact(shape):
    weight, full = normal(*shape), [min(shape[-2:])]
    for weighting in ((), (covariance(inputs(shape[-1])),)):
        (product,) = approximations(weight, full, *weighting)
        np.testing.assert_allclose(product, weight, rtol=0, atol=1e-4)


@every_shape
def test_energies_and_what_each_rank_leaves_out(shape):
    weight = normal(*shape)
    found = plain(jnp.asarray(weight, jnp.float32))
    squares = np.linalg.svd(weight, compute_uv=False) ** 2
    shares = squares / squares.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(found.energies, shares, rtol=0, atol=100 * EPSILON)
    expected = [shares[..., rank:].sum(axis=-1).max() for rank in range(found.full_rank + 1)]
    np.testing.assert_allclose(found.left_out, expected, rtol=0, atol=100 * EPSILON)
    assert found.left_out[-1] == 0


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_weighted_factors_have_the_least_output_error(rank):
    weight, x = normal(6, 5), inputs(5)
    found = weighted(jnp.asarray(weight, jnp.float32), jnp.asarray(covariance(x), jnp.float32), 0.0)
    error = squared((weight - approximation(found, rank)) @ x.T)

    # In closed form: truncate W · S, then undo S, with S a Cholesky factor.
    root = np.linalg.cholesky(x.T @ x)
    left, values, right = np.linalg.svd(weight @ root, full_matrices=False)
    best = (left[:, :rank] * values[:rank]) @ right[:rank] @ np.linalg.inv(root)
    np.testing.assert_allclose(error, np.sum(values[rank:] ** 2), rtol=1e-3)
    np.testing.assert_allclose(
        squared((weight - best) @ x.T), np.sum(values[rank:] ** 2), rtol=1e-6
    )

    # And no other matrix of the rank, near or far, does better.
    factors = [np.asarray(factor, np.float64) for factor in found.factors(rank)]
    random = np.random.default_rng(1)
    for step in (1e-2, 1e-1, 1.0):
        for _ in range(30):
            left, right = (f + step * random.standard_normal(f.shape) for f in factors)
            assert squared((weight - left @ right) @ x.T) > error * (1 - 1e-3)
    unweighted = approximation(plain(jnp.asarray(weight, jnp.float32)), rank)
    assert squared((weight - unweighted) @ x.T) > error


def test_each_of_a_batch_has_its_own_covariance():
    weights, x = normal(2, 6, 5), [inputs(5, seed=seed) for seed in (3, 4)]
    together = weighted(
        jnp.asarray(weights, jnp.float32), jnp.asarray([covariance(each) for each in x]), 0.0
    )
    for i in range(2):
        alone = weighted(jnp.asarray(weights[i], jnp.float32), jnp.asarray(covariance(x[i])), 0.0)
        np.testing.assert_allclose(
            approximation(together, 2)[i], approximation(alone, 2), rtol=0, atol=1e-4
        )


def test_damping_keeps_what_the_data_never_took():
    """With inputs in one direction, the others count by damping alone."""
    weight = jnp.asarray(np.diag([1.0, 3.0, 2.0]), jnp.float32)
    seen = jnp.asarray(np.diag([1.0, 0.0, 0.0]), jnp.float32)
    product = approximation(weighted(weight, seen, 1e-6), 2)
    np.testing.assert_allclose(product, np.diag([1.0, 3.0, 0.0]), rtol=0, atol=1e-5)


def test_the_square_root_squares_to_the_damped_covariance():
    matrix = covariance(inputs(6))
    root = np.asarray(square_root(jnp.asarray(matrix, jnp.float32), 0.1), np.float64)
    np.testing.assert_allclose(root, root.T, rtol=0, atol=1e-5 * np.abs(root).max())
    expected = matrix + 0.1 * np.mean(np.diag(matrix)) * np.eye(6)
    np.testing.assert_allclose(root @ root.T, expected, rtol=0, atol=1e-5 * np.abs(matrix).max())


def test_a_covariance_of_lower_rank_gives_no_nan():
    found = weighted(jnp.ones((4, 3)), jnp.zeros((3, 3)), 0.0)
    assert np.isfinite(approximation(found, 1)).all()
    assert found.energies.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("window", "axis"), [((3, 2, 4), 2), ((4, 3, 2), 0), ((3, 4, 2), 1)])
def test_taps_are_independent_and_share_the_features(window, axis):
    features = covariance(inputs(4))
    actual = np.asarray(per_tap(jnp.asarray(features, jnp.float32), window, axis))
    places = list(np.ndindex(*window))
    for i, first in enumerate(places):
        for j, second in enumerate(places):
            elsewhere = [
                a == b for k, (a, b) in enumerate(zip(first, second, strict=True)) if k != axis
            ]
            expected = features[first[axis], second[axis]] if all(elsewhere) else 0.0
            np.testing.assert_allclose(actual[i, j], expected, rtol=1e-6)


@every_shape
def test_sizes_are_those_of_the_arrays(shape):
    found = plain(jnp.asarray(normal(*shape), jnp.float32))
    for rank in range(1, found.full_rank + 1):
        held = sum(factor.size for factor in found.factors(rank))
        assert held == rank * found.cost
        assert (rank <= found.saving_rank) == (held < found.size)


def test_factors_are_balanced():
    left, right = plain(jnp.asarray(normal(6, 5), jnp.float32)).factors(3)
    np.testing.assert_allclose(
        np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=1), rtol=1e-5
    )
