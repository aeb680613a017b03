"""Roundings around another: corrected by two factors, and in rotated coordinates."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.corrected import Corrected
from jaxcompress.core.hadamard import drawn_signs
from jaxcompress.core.rotated import Rotated
from jaxcompress.layerwise.solver import Solver, weight_solver
from jaxcompress.quantize import formats, int4, int8, quantize, reconstruct, rounding
from jaxcompress.quantize.rounding import Rounding, gptq, low_rank, nearest
from tests.quantize.rounding.family import on_outputs
from tests.quantize.rounding.test_family import AWKWARD, INPUTS, MOMENTS, SHAPE

EPSILON = 2.0**-23
RANK = 3


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def moment(rows: int, inputs: int = INPUTS) -> np.ndarray:
    """Of inputs that go together, and of unequal energies."""
    x = normal(rows, inputs) @ (np.eye(inputs) + 0.3 * normal(inputs, inputs, seed=1))
    x = x * np.exp(normal(inputs, seed=2))
    return np.float32(x.T @ x / rows)


class Case(NamedTuple):
    """A rounding around another, and by what it is not worse than that one."""

    make: object
    inner: Rounding
    spec: jc.QuantSpec


CASES = {
    "bfloat16": Case(lambda: low_rank(nearest(), RANK), nearest(), formats.int3()),
    "codes": Case(
        lambda: low_rank(nearest(), RANK, factors=int8()), nearest(), formats.uint2(group_size=4)
    ),
    "few bits": Case(lambda: low_rank(nearest(), RANK, factors=formats.int2()), nearest(), int4()),
    "diagonal": Case(
        lambda: low_rank(nearest(), RANK, root=rounding.diagonal_root, rounds=1),
        nearest(),
        formats.nvfp4(),
    ),
    "weight first": Case(
        lambda: low_rank(nearest(), RANK, begin=rounding.from_weight), nearest(), formats.int2()
    ),
    "gptq": Case(lambda: low_rank(gptq(), RANK, rounds=2), gptq(), formats.mxfp4()),
}
every_case = pytest.mark.parametrize("name", CASES)


@functools.cache
def compiled(name: str):
    """(weight, second moment) -> the values, and those of the inner rounding alone."""
    case = CASES[name]
    solvers = [each.solver(case.spec) for each in (case.make(), case.inner)]
    return jax.jit(lambda w, h: [each.weight(each.solve(w, h)) for each in solvers])


def loss(weight, found, second_moment) -> float:
    return float(np.sum(on_outputs(np.float64(found) - weight, np.float64(second_moment))))


@every_case
def test_a_correction_is_never_worse_than_the_codes_alone(name):
    weight = np.random.default_rng(1).standard_t(3, SHAPE).astype(np.float32)
    for second_moment in (moment(128), moment(8), np.eye(INPUTS, dtype=np.float32)):
        own, alone = (loss(weight, w, second_moment) for w in compiled(name)(weight, second_moment))
        assert own <= alone * (1 + weight.size * EPSILON)
        if name not in ("few bits", "diagonal"):
            assert own < 0.8 * alone


@every_case
def test_awkward_matrices_stay_finite(name):
    cases = [(weight, moment(64)) for weight in AWKWARD.values()]
    cases += [(normal(*SHAPE), second_moment) for second_moment in MOMENTS.values()]
    for weight, second_moment in cases:
        own, _ = compiled(name)(np.float32(weight), np.float32(second_moment))
        assert np.all(np.isfinite(own))


def by_hand(error: np.ndarray, root: np.ndarray, rank: int) -> np.ndarray:
    """QERA in float64: SVD_r(E R^1/2) R^-1/2."""
    left, values, right = np.linalg.svd(error @ root)
    return (left[:, :rank] * values[:rank]) @ right[:rank] @ np.linalg.inv(root)


def symmetric_root(second_moment: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(second_moment)
    values = np.maximum(values, 1e-6 * values.max())
    return (vectors * np.sqrt(values)) @ vectors.T


ROOTS = {
    "exact": (rounding.exact_root, symmetric_root),
    "diagonal": (rounding.diagonal_root, lambda h: np.diag(np.sqrt(np.diag(h)))),
}


@pytest.mark.parametrize(("root", "oracle"), ROOTS.values(), ids=ROOTS)
@pytest.mark.parametrize("shape", [(6, 32), (40, 32)], ids=str)
def test_the_product_is_the_best_of_its_rank(root, oracle, shape):
    weight, second_moment, spec = normal(*shape, seed=3), moment(400), formats.int3()
    options = {"rounds": 1, "factors": jnp.float32, "root": root}
    one, two = nearest().solver(spec), low_rank(nearest(), RANK, **options).solver(spec)
    codes, found = jax.jit(lambda w, h: [s.weight(s.solve(w, h)) for s in (one, two)])(
        weight, second_moment
    )
    error = np.float64(weight) - codes
    product = by_hand(error, oracle(np.float64(second_moment)), RANK)
    # What is minimized is equal to first order in the float32 error of the vectors.
    measure = {"exact": np.float64(second_moment), "diagonal": np.diag(np.diag(second_moment))}
    by = measure["exact" if root is rounding.exact_root else "diagonal"]
    own, best = (
        float(np.sum(on_outputs(np.float64(e), by))) for e in (weight - found, error - product)
    )
    np.testing.assert_allclose(own, best, rtol=32 * 32 * EPSILON)


def test_the_root_of_correlated_inputs():
    """Of a moment whose eigenvalues reach over eight decades, against float64."""
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(48, 48)))
    second_moment = (basis * np.logspace(-8, 0, 48)) @ basis.T
    root = np.float64(jax.jit(rounding.exact_root)(np.float32(second_moment)))
    off = np.linalg.norm(root @ root.T - second_moment, 2)
    assert off <= 1e-6 + 48 * EPSILON  # the floor, and roundings; the largest is 1


def test_full_rank_leaves_no_error():
    solver = low_rank(nearest(), 32, factors=jnp.float32, rounds=1).solver(formats.int2())
    weight, second_moment = normal(6, 32), moment(64)
    found = jax.jit(lambda w, h: solver.weight(solver.solve(w, h)))(weight, second_moment)
    np.testing.assert_allclose(found, weight, rtol=0, atol=32 * EPSILON * np.abs(weight).max())


def test_without_data_it_is_the_truncated_decomposition():
    kernel, axes = {"w": normal(32, 6)}, {"w": jc.LeafAxes((0,), (1,))}
    method = low_rank(nearest(), 2, factors=jnp.float32, rounds=1)
    leaf = jax.jit(lambda p: quantize(p, formats.int3(), axes=axes, rounding=method)[0]["w"])(
        kernel
    )
    assert isinstance(leaf, Corrected)
    error = np.float64(kernel["w"]) - leaf.base.materialize()
    left = np.linalg.norm(np.float64(kernel["w"]) - leaf.materialize())
    rest = np.linalg.svd(error, compute_uv=False)[2:]
    np.testing.assert_allclose(left, np.linalg.norm(rest), rtol=1e-4)


# Rotations.


def exactly() -> Rounding:
    """Rounds nothing."""
    return Rounding(
        lambda spec: weight_solver(lambda weight, second_moment: weight), lambda x, choice: x
    )


LAYOUTS = {
    "dense": ((24, 5), jc.LeafAxes((0,), (1,))),
    "outputs first": ((5, 24), jc.LeafAxes((1,), (0,))),
    "odd": ((7, 5), jc.LeafAxes((0,), (1,))),
    "heads": ((2, 12, 5), jc.LeafAxes((0, 1), (2,))),
    "layers": ((3, 8, 5), jc.LeafAxes((1,), (2,), (0,))),
}


@pytest.mark.parametrize(("shape", "axes"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_rotation_changes_nothing_before_it_is_rounded(shape, axes):
    params, method = {"w": normal(*shape)}, rounding.rotated(exactly(), block=8)

    def there_and_back(params):
        leaf = quantize(params, int8(), axes={"w": axes}, rounding=method)[0]["w"]
        return leaf, leaf.materialize()

    leaf, back = jax.jit(there_and_back)(params)
    assert leaf.block == {"odd": 1}.get(next(n for n in LAYOUTS if LAYOUTS[n][0] == shape), 8)
    bound = 16 * EPSILON * np.abs(params["w"]).max() * 8
    np.testing.assert_allclose(back, params["w"], rtol=0, atol=bound)


def test_the_inner_rounding_sees_rotated_weights_and_inputs():
    seen = Rounding(lambda spec: Solver(lambda w, h: (w, h), lambda f: f[0], lambda *_: 0), None)
    solver = rounding.rotated(seen, block=8, seed=3).solver(int8())
    weight, x = normal(5, 24), normal(50, 24)
    turned, met = jax.jit(solver.solve)(weight, x.T @ x / 50)
    blocks = np.kron(np.eye(3), [[(-1) ** (i & j).bit_count() for j in range(8)] for i in range(8)])
    rotation = np.diag(1 - 2.0 * drawn_signs(3, 24)) @ blocks / 8**0.5
    np.testing.assert_allclose(turned, weight @ rotation, rtol=0, atol=1e-5)
    rows = x @ rotation
    np.testing.assert_allclose(met, rows.T @ rows / 50, rtol=0, atol=1e-4)


@pytest.mark.parametrize("spec", [int4(), formats.mxfp4()], ids=str)
def test_rotated_outliers_cost_less(spec):
    """Few inputs have weights twenty times the size of the others."""
    weight = np.where(np.arange(64) % 21 == 4, 20, 1) * normal(16, 64)
    second_moment = moment(256, 64)
    second_moment = np.float32(np.eye(64)) + 0.1 * second_moment / second_moment.max()
    solvers = [nearest().solver(spec), rounding.rotated(block=64).solver(spec)]
    run = jax.jit(lambda w, h: [each.weight(each.solve(w, h)) for each in solvers])
    plain, turned = (loss(weight, w, second_moment) for w in run(np.float32(weight), second_moment))
    assert turned < plain * (0.5 if spec == int4() else 0.95)


def stack(params, x):
    x = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, params["layers"])[0]
    return x @ params["out"]


def test_all_of_it_on_a_model_and_in_a_file(tmp_path):
    """Corrected GPTQ in rotated coordinates, of layers of a scan, and from a file."""
    params = {"layers": 0.3 * normal(2, 16, 16), "out": normal(16, 4, seed=1)}
    x = normal(40, 16, seed=2)
    method = rounding.rotated(low_rank(gptq(), 2, rounds=1), block=16)
    found, report = reconstruct(stack, params, [x], formats.int3(), method)
    assert [type(leaf) for leaf in found.values()] == [Rotated, Rotated]
    assert report.leaves[0].action == "int3 per channel + rank 2, rotated in blocks of 16"
    assert found["layers"].stacked
    jc.storage.save(tmp_path / "model", found)
    again = jc.storage.load(tmp_path / "model")
    outputs = jax.jit(jc.materialized(stack))
    np.testing.assert_array_equal(outputs(again, x), outputs(found, x))
    plain, _ = quantize(params, formats.int3(), axes=jc.graph.axes(stack, params, x))
    dense = stack(params, x)
    own, other = (np.linalg.norm(outputs(each, x) - dense) for each in (found, plain))
    assert own < 0.75 * other


def test_pruned_weights_do_not_stay():
    kernel, masks = jax.ShapeDtypeStruct((8, 4), jnp.float32), {"w": jnp.arange(8)[:, None] > 0}
    for method in (rounding.rotated(), low_rank(rank=1)):
        with pytest.raises(
            ValueError, match=r"quantize\(masks=...\): leaf 'w' .*which do not stay 0"
        ):
            quantize({"w": kernel}, int8(), rounding=method, masks=masks)


def test_what_is_no_product_is_refused():
    with pytest.raises(ValueError, match=r"low_rank\(factors=int8 in groups of 2\)"):
        low_rank(factors=int8(group_size=2))
    with pytest.raises(ValueError, match=r"low_rank\(factors=.*int8"):
        low_rank(factors=jnp.int8)
    twice = low_rank(rounding.rotated(), rounds=1)
    with pytest.raises(TypeError, match=r"low_rank\(inner=...\) must give a QTensor.*rotated\(low"):
        quantize({"w": jax.ShapeDtypeStruct((4, 4), jnp.float32)}, int8(), rounding=twice)
