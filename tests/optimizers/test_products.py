"""What a TPU runs in place of LAPACK: products of matrices alone, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import optimizers
from jaxcompress.optimizers.matrix import eigenbases, products, roots
from tests.optimizers.test_bounds import LAYERS, PARAMS
from tests.optimizers.test_contract import ROUNDING

RANDOM = np.random.default_rng(0)
SIDE = 24


def on_a_tpu(*operands, tpu, default):
    """`jax.lax.platform_dependent`, as it is there."""
    del default
    return tpu(*operands)


def squares() -> dict[str, np.ndarray]:
    """Symmetric matrices without negative eigenvalues, of every kind of rank."""
    normal = RANDOM.standard_normal((SIDE, SIDE))
    column = RANDOM.standard_normal((SIDE, 1))
    turn, _ = np.linalg.qr(normal)
    found = {
        "full": normal @ normal.T,
        "gaps": (turn * 2.0 ** -np.arange(SIDE)) @ turn.T,
        "rank 1": column @ column.T,
        "zero": np.zeros((SIDE, SIDE)),
        "mostly empty": np.pad(normal[:3, :3] @ normal[:3, :3].T, ((0, SIDE - 3),) * 2),
        "equal": np.eye(SIDE),
        "ones": np.ones((SIDE, SIDE)),
    }
    return {name: each.astype(np.float32) for name, each in found.items()}


@pytest.mark.parametrize(("m", "k", "n"), [(3, 4, 2), (300, 5, 7), (129, 2, 1)])
def test_panels_give_the_product(m, k, n):
    x, y = (RANDOM.standard_normal((2, *sides)).astype(np.float32) for sides in ((m, k), (k, n)))
    found = jax.jit(products.product_by_panels)(x, y)
    np.testing.assert_allclose(found, np.float64(x) @ y, rtol=0, atol=8 * k * ROUNDING)


def test_triangles_are_inverted():
    for size in (1, 2, 5, 64):
        lower = np.tril(RANDOM.standard_normal((2, size, size)) / size, -1) + np.eye(size)
        inverse = np.float64(jax.jit(products.triangular_inverse)(np.float32(lower)))
        np.testing.assert_allclose(inverse @ np.float32(lower), lower**0 * np.eye(size), atol=1e-6)
        np.testing.assert_array_equal(np.triu(inverse, 1), 0.0 * lower)


def test_bases_are_orthonormal_whatever_the_rank():
    matrices = squares()
    start, _ = np.linalg.qr(RANDOM.standard_normal((len(matrices), SIDE, SIDE)))
    iterated = jax.jit(eigenbases.iterated)
    for rounds in (1, 32):
        stacked = np.stack([*matrices.values()])
        for begin in (np.float32(start), np.broadcast_to(np.eye(SIDE), start.shape)):
            basis = np.float64(iterated(stacked, begin.astype(np.float32), rounds))
            close = {"rtol": 0, "atol": SIDE * 4 * ROUNDING}
            np.testing.assert_allclose(basis.mT @ basis, np.stack([np.eye(SIDE)] * 7), **close)


def test_one_round_is_a_qr_and_many_find_the_eigenvectors():
    matrix = squares()["gaps"]
    start, _ = np.linalg.qr(RANDOM.standard_normal((SIDE, SIDE)))
    iterated = jax.jit(eigenbases.iterated)
    one = iterated(matrix[None], np.float32(start)[None], 1)[0]
    expected = np.linalg.qr(np.float64(matrix) @ np.float32(start))[0]
    # Five columns: each loses a bit of 24 to the ratio of its eigenvalue to the first,
    # and what is added to all eigenvalues is 2^-21 of the largest entry.
    alike = np.abs(np.sum(one * expected, axis=0))[:5]
    np.testing.assert_allclose(alike, 1.0, atol=2.0**5 * 64 * ROUNDING)
    values, vectors = np.linalg.eigh(np.float64(matrix))
    many = iterated(matrix[None], np.float32(start)[None], eigenbases.ROUNDS)[0]
    # 32 rounds leave 2^-32 of a neighbour; rounding leaves eps over the gap.
    alike = np.abs(np.sum(many * vectors[:, ::-1], axis=0))[:5]
    np.testing.assert_allclose(alike, 1.0, atol=2.0**5 * 64 * ROUNDING)
    assert values[-1] > 0


@pytest.mark.parametrize(("power", "ridge"), [(4, 1e-3), (2, 1e-2), (1, 1e-2), (3, 1e-2)])
def test_newton_roots_undo_what_they_are_roots_of(power, ridge):
    """A power iteration finds the eigenvalue, of which the ridge is a share, to 5 %."""
    matrices = squares()
    stacked = np.stack([*matrices.values()])
    found = np.float64(jax.jit(roots.newton_root, static_argnums=1)(stacked, power, ridge))
    for name, root, matrix in zip(matrices, found, np.float64(stacked), strict=True):
        if name == "zero":
            np.testing.assert_array_equal(root, np.eye(SIDE))
            continue
        values, vectors = np.linalg.eigh(matrix)
        kept = np.maximum(values, 0.0)
        near, far = (
            (vectors * (kept + share * ridge * kept[-1]) ** (-1 / power)) @ vectors.T
            for share in (1.0, 0.95)
        )
        rounding = 16 * ROUNDING / ridge * np.linalg.norm(near)
        assert np.linalg.norm(root - near) <= np.linalg.norm(near - far) + rounding, name


def test_where_rounding_outweighs_the_ridge_a_larger_one_is_taken():
    matrix = squares()["full"] / 100 - 1e-4 * np.eye(SIDE, dtype=np.float32)
    matrix -= np.linalg.eigvalsh(matrix)[0] * np.eye(SIDE, dtype=np.float32) * 1.01
    ridge = np.full((1, 1, 1), 1e-7, np.float32)
    root = np.asarray(jax.jit(roots.coupled_newton, static_argnums=2)(matrix[None], ridge, 4))
    assert np.all(np.isfinite(root))
    assert np.linalg.eigvalsh(root[0])[0] > 0


def test_what_is_not_finite_gives_nan_and_harms_no_other():
    matrix = np.stack([np.eye(2), np.diag([np.nan, 1.0]), np.diag([16.0, 1.0])]).astype(np.float32)
    found = np.asarray(jax.jit(roots.newton_root, static_argnums=1)(matrix, 4))
    assert np.all(np.isnan(found[1]))
    np.testing.assert_allclose(found[2], np.diag([0.5, 1.0]), atol=1e-5)
    basis = np.asarray(jax.jit(eigenbases.iterated)(matrix, np.stack([np.eye(2)] * 3), 3))
    assert np.all(np.isnan(basis[1]))
    assert np.all(np.isfinite(basis[[0, 2]]))


def test_leaves_of_one_shape_are_one_batch():
    seen = []

    def doubled(x):
        seen.append(x.shape)
        return 2 * x

    tree = {
        name: jnp.full((count, 2, 2), count) for name, count in {"a": 1, "b": 3, "c": 2}.items()
    }
    tree["d"] = jnp.ones((1, 3, 3))
    for name, leaf in products.by_shape(doubled, tree).items():
        np.testing.assert_array_equal(leaf, 2 * tree[name])
    assert seen == [(6, 2, 2), (1, 3, 3)]


MAKERS = {
    "soap": lambda: optimizers.scale_by_soap(every=2),
    "shampoo": lambda: optimizers.scale_by_shampoo(every=2),
    "galore": lambda: optimizers.galore(optimizers.scale_by_adam(), rank=2, every=2),
    "kfac": lambda: optimizers.scale_by_kfac(LAYERS, jax.random.key(0)),
}


@pytest.mark.parametrize("name", ["soap", "shampoo", "galore"])
def test_updates_are_those_of_other_devices(name, monkeypatch):
    """Of full rank, singular values half of each other: 32 rounds tell them apart."""
    turn, other = np.linalg.qr(RANDOM.standard_normal((2, 4, 4)))[0]
    first = (turn * 2.0 ** -np.arange(4)) @ other
    grads = np.stack([first + 0.1 * RANDOM.standard_normal((4, 4)) * (t > 0) for t in range(6)])

    def updates():
        optimizer = MAKERS[name]()

        def step(state, grads):
            update, state = optimizer.update(grads, state)
            return state, update

        start = optimizer.init(jnp.zeros((4, 4)))
        return jax.jit(lambda g: jax.lax.scan(step, start, g)[1])(np.float32(grads))

    elsewhere = updates()
    monkeypatch.setattr(jax.lax, "platform_dependent", on_a_tpu)
    # Of Shampoo the ridge, a share of an eigenvalue known to 5 %, of others rounding
    # over the gap of two eigenvalues.
    np.testing.assert_allclose(updates(), elsewhere, rtol=0, atol=512 * ROUNDING)


@pytest.mark.parametrize("name", MAKERS)
def test_no_decomposition_is_left_in_a_program_for_a_tpu(name):
    """Lowering needs no TPU; a decomposition shows as a call by one of these names."""
    optimizer = MAKERS[name]()
    factors = {rank: optimizers.Factors(leaf, leaf) for rank, leaf in PARAMS.items()}
    asked = {"factors": lambda key: factors} if name == "kfac" else {}

    def step(grads):
        return optimizer.update(grads, optimizer.init(grads), grads, **asked)[0]

    lowered = jax.jit(step).trace(PARAMS).lower(lowering_platforms=("tpu",)).as_text()
    for call in ("Eigh", "Qr", "Householder", "svd", "triangular_solve"):
        assert call not in lowered, call
