"""Casts back to a narrow dtype: what is finite stays finite, in leaf and view alike."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.axes import LeafAxes
from jaxcompress.prune.companions.variational import noisy
from jaxcompress.prune.post_training.fisher_blocks import from_blocks
from jaxcompress.quantize import fake_quantize, int4, int8, quantize
from jaxcompress.quantize.assignment import Assignment
from jaxcompress.quantize.execution import dynamic
from jaxcompress.quantize.formats import uint4, uint8
from jaxcompress.quantize.ranges.extremes import min_max
from jaxcompress.quantize.training.latent import Latent

SPECS = [int8(), int4(), uint8(), uint4(), uint8(per="tensor"), uint4(group_size=2)]


def extremes(dtype):
    """(4, 7): columns that reach to one end of a dtype or to both."""
    most = float(jnp.finfo(dtype).max)
    columns = [(-1, 0.8626), (1, -0.8626), (1, 1), (-1, -1), (1, 0), (0.999, -1), (-1, 0.501)]
    return jnp.asarray(np.repeat(np.array(columns).T, 2, axis=0) * most, dtype)


def test_the_smallest_case():
    stored, _ = quantize({"kernel": jnp.array([[-65504.0], [56500.0]], jnp.float16)}, uint8())
    step = (65504 + 56500) / 255
    found = np.asarray(jc.materialize(stored)["kernel"], np.float64)
    np.testing.assert_allclose(found, [[-65504], [56500]], rtol=0, atol=step / 2 + 16)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16], ids=str)
def test_the_leaf_is_finite_and_the_view_has_its_bits(dtype):
    x = {"w": extremes(dtype)}

    @jax.jit
    def both(x):
        leaves = [quantize(x, spec)[0]["w"] for spec in SPECS]
        return jc.materialize(leaves), leaves, [fake_quantize(spec)(x)["w"] for spec in SPECS]

    for found, leaf, seen in zip(*both(x), strict=True):
        assert found.dtype == dtype
        np.testing.assert_array_equal(seen, found)
        exact = np.asarray(leaf.astype(jnp.float32).materialize(), np.float64)
        most = float(jnp.finfo(dtype).max)
        np.testing.assert_array_equal(found, np.clip(exact, -most, most).astype(dtype))
        assert np.isfinite(np.asarray(found, np.float32)).all()


class Cast(NamedTuple):
    """A cast of float32 results, some of them beyond the range of the dtype."""

    name: str
    call: object  # dtype -> tree


LARGE = jnp.array([[-9e38 / 3, 9e38 / 3], [3.39e38, 1.0]])
AXES = LeafAxes((0,), (1,))


def low_rank(dtype):
    root = jnp.float32(1.6e19)
    factors = jnp.array([[root], [-root]]), jnp.array([[root, 1.0]])
    return jc.LowRank.from_factors(*factors, dtype=dtype, axes=AXES).materialize()


def factors_in_codes(dtype):
    left, _ = quantize({"w": jnp.full((1, 2), 1e5)}, int8())
    right, _ = quantize({"w": jnp.full((2, 1), 1e-3)}, int8())
    leaf = jc.LowRank.from_factors(left["w"].T, right["w"].T, dtype=dtype, axes=AXES)
    fast = jc.structure.run_low_rank(lambda params, x: x @ params["w"])
    return fast({"w": leaf}, jnp.ones((1, 2), dtype) * 0.25)


def data(dtype):
    x = extremes(dtype).T
    fn = jc.quantize.fake_quantize_activations(lambda p, x: x @ p["w"], dynamic(uint8()))
    return fn({"w": jnp.eye(4, dtype=dtype)}, x)


def pulled(dtype):
    view = jc.prune.views.sr_ste(jc.prune.views.by_magnitude(0.5), decay=3.0)
    return jax.grad(lambda x: jnp.sum(view({"w": x})["w"]))(extremes(dtype))


def solved(dtype):
    def enlarged(weight, moments, sparsity):
        return weight * 1e5, jnp.ones(weight.shape, bool)

    x, fn = jnp.ones((2, 3), dtype), lambda params, x: x @ params["w"]
    return jc.prune.reconstruct(fn, {"w": x.T}, [x], enlarged, 0.5)[0]


def stored_for_a_step(*keys):
    """An optimizer's state in 16 bits, which have no place for float16's end."""

    def call(dtype):
        code = jc.optimizers.bfloat16()
        return code.decode(code.encode(extremes(dtype), *keys))

    return call


def trained(dtype):
    choice = Assignment(int8(), AXES)
    return Latent.of(LARGE, choice, min_max).astype(dtype).materialize()


def from_fisher_blocks(dtype):
    return from_blocks(jnp.full((1, 6), 1e6), jnp.ones((2, 3), dtype), AXES)


CASTS = [
    Cast("leaf.astype", lambda dtype: quantize({"w": LARGE}, int8())[0]["w"].astype(dtype)[...]),
    Cast("a low-rank leaf", low_rank),
    Cast("factors in codes", factors_in_codes),
    Cast("data", data),
    Cast("factorize", lambda dtype: jc.structure.factorize({"w": extremes(dtype)}, rank=1)[0]["w"]),
    Cast(
        "noise",
        lambda dtype: noisy(extremes(dtype), jnp.full((4, 7), 20.0), jax.random.key(0)),
    ),
    Cast("a pull", pulled),
    Cast("a solver", solved),
    Cast("Fisher blocks", from_fisher_blocks),
    Cast("a state, rounded to nearest", stored_for_a_step()),
    Cast("a state, rounded at random", stored_for_a_step(jax.random.key(0))),
    Cast("a leaf in training", trained),
]


@pytest.mark.parametrize("case", CASTS, ids=lambda case: case.name)
def test_every_cast_keeps_finite_numbers_finite(case):
    for found in jax.tree.leaves(jc.materialize(case.call(jnp.float16))):
        assert found.dtype == jnp.float16
        assert np.isfinite(np.asarray(found, np.float32)).all()


def test_what_is_not_finite_stays_so():
    leaf = quantize({"w": jnp.ones((2, 2))}, int8())[0]["w"]
    spoiled = jax.tree.map(lambda a: a * np.float32("inf") if a.dtype == np.float32 else a, leaf)
    assert np.isinf(np.asarray(spoiled.astype(jnp.float16).materialize(), np.float32)).all()


def test_float8_has_no_infinity_to_go_to():
    leaf = quantize({"w": jnp.array([[500.0, -1e4]])}, int8())[0]["w"]
    found = leaf.astype(ml_dtypes.float8_e4m3fn).materialize()
    np.testing.assert_array_equal(found.astype(jnp.float32), [[448, -448]])


def test_the_largest_moment_has_a_bfloat16():
    largest = jnp.float32(jnp.finfo(jnp.float32).max)
    code = jc.optimizers.bfloat16()
    for key in (None, jax.random.key(0)):
        found = code.decode(code.encode(jnp.array([largest, -largest, jnp.inf]), key))
        most = float(jnp.finfo(jnp.bfloat16).max)
        np.testing.assert_array_equal(found, jnp.array([most, -most, jnp.inf]))
