"""Low-rank weights as two thin products: the same outputs, and no full array made."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import graph, quantize, structure
from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.leaf import materialize
from jaxcompress.core.lowrank import LowRank
from jaxcompress.core.names import named_leaves
from tests.inputs import on_device


def normal(*shape, seed=0):
    return on_device(np.random.default_rng(seed).standard_normal(shape))


def convolution(numbers, **options) -> Callable:
    def fn(params, x):
        options_ = {"window_strides": (1, 1), "padding": "SAME"} | options
        return jax.lax.conv_general_dilated(x, params["w"], dimension_numbers=numbers, **options_)

    return fn


def scan(params, x):
    return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, params["w"])[0]


def tied(params, tokens):
    return params["w"][tokens] @ params["w"].T


class Case(NamedTuple):
    name: str
    fn: Callable
    weight: jax.Array
    x: jax.Array


TOKENS = jnp.array([[0, 3, 29], [7, 1, 1]])
CASES = [
    Case("dense", lambda p, x: x @ p["w"], normal(9, 7), normal(4, 9)),
    Case("weight first", lambda p, x: p["w"] @ x, normal(9, 7), normal(7)),
    Case("transposed", lambda p, x: x @ p["w"].T, normal(9, 7), normal(2, 3, 7)),
    Case(
        "to heads",
        lambda p, x: jnp.einsum("bti,ihd->bthd", x, p["w"]),
        normal(8, 2, 5),
        normal(2, 3, 8),
    ),
    Case(
        "from heads",
        lambda p, x: jnp.einsum("bthd,hdo->obt", x, p["w"]),
        normal(2, 5, 8),
        normal(2, 3, 2, 5),
    ),
    Case(
        "experts",
        lambda p, x: jnp.einsum("tei,eio->teo", x, p["w"]),
        normal(3, 8, 9),
        normal(4, 3, 8),
    ),
    Case(
        "experts inside",
        lambda p, x: jnp.einsum("tei,ieo->oet", x, p["w"]),
        normal(8, 3, 9),
        normal(4, 3, 8),
    ),
    Case("vmapped experts", jax.vmap(lambda p, x: x @ p["w"]), normal(3, 8, 9), normal(3, 4, 8)),
    Case("scan", scan, normal(3, 8, 8), normal(4, 8)),
    Case("rematerialized scan", jax.checkpoint(scan), normal(3, 8, 8), normal(4, 8)),
    Case("HWIO", convolution(("NHWC", "HWIO", "NHWC")), normal(3, 3, 5, 8), normal(2, 6, 7, 5)),
    Case("OIHW", convolution(("NCHW", "OIHW", "NCHW")), normal(8, 5, 3, 3), normal(2, 5, 6, 7)),
    Case(
        "strided and dilated",
        convolution(
            ("NHWC", "HWIO", "NCHW"), window_strides=(2, 1), rhs_dilation=(1, 2), padding="VALID"
        ),
        normal(3, 2, 5, 8),
        normal(1, 7, 7, 5),
    ),
    Case(
        "transposed convolution",
        convolution(("NHWC", "HWIO", "NHWC"), lhs_dilation=(2, 2), padding=((1, 2), (1, 2))),
        normal(3, 3, 5, 8),
        normal(2, 4, 4, 5),
    ),
    Case("table", lambda p, t: p["w"][t], normal(30, 8), TOKENS),
    Case(
        "table taken along its second axis",
        lambda p, t: jnp.take(p["w"], t, axis=1),
        normal(8, 30),
        TOKENS,
    ),
    Case("tied", tied, normal(30, 8), TOKENS),
]
every_model = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def factored(case: Case, rank=2):
    params = {"w": case.weight}
    axes = graph.axes(case.fn, params, case.x)
    return structure.factorize(params, rank=rank, axes=axes)[0]


def sizes_made(fn, *arguments) -> set[int]:
    """How many numbers the arrays hold that a program makes, at any depth."""

    def inside(jaxpr):
        for eqn in jaxpr.eqns:
            yield from (out.aval.size for out in eqn.outvars if eqn.primitive.name != "scan")
            for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_jaxpr):
                if _is_jaxpr(inner):
                    yield from inside(getattr(inner, "jaxpr", inner))

    return set(inside(jax.make_jaxpr(fn)(*arguments).jaxpr))


def _is_jaxpr(x) -> bool:
    return hasattr(x, "eqns")


def assert_close(actual, expected):
    """Products of at most 64 terms, in another order."""
    assert actual.dtype == expected.dtype
    size = float(jnp.max(jnp.abs(expected)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * size)


@every_model
def test_outputs_are_those_of_the_product(case):
    params = factored(case)
    assert isinstance(params["w"], LowRank)
    expected = case.fn(materialize(params), case.x)
    assert_close(jax.jit(structure.run_low_rank(case.fn))(params, case.x), expected)


@every_model
def test_the_product_is_never_formed(case):
    running, params = structure.run_low_rank(case.fn), factored(case)
    full, layer = case.weight.size, case.weight.size // 3
    assert full in sizes_made(lambda p, x: case.fn(materialize(p), x), params, case.x)
    made = sizes_made(running, params, case.x)
    assert full not in made
    assert "scan" not in case.name or layer not in made


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.name in ("from heads", "scan", "OIHW", "table")],
    ids=lambda case: case.name,
)
def test_gradients_are_those_of_the_product(case):
    params, running = factored(case), structure.run_low_rank(case.fn)

    def loss(fn, params):
        return jnp.sum(jnp.sin(fn(params, case.x)))

    actual = jax.grad(lambda params: loss(running, params))(params)
    expected = jax.grad(lambda params: loss(case.fn, materialize(params)))(params)
    jax.tree.map(assert_close, actual, expected)


@every_model
def test_open_factors_are_leaves_that_meet_data(case):
    running, params = structure.run_low_rank(case.fn), structure.open_factors(factored(case))
    assert list(named_leaves(params)) == ["w/left", "w/right"]
    closed = structure.close_factors(params)
    assert_close(running(params, case.x), running(closed, case.x))
    axes = named_leaves(graph.axes(running, params, case.x))
    assert axes["w/left"].meets_data
    # A looked-up row meets the right factor from its other side.
    if not jnp.issubdtype(case.x.dtype, jnp.integer):
        assert axes["w/right"].contracting == closed["w"].factor_axes["right"].contracting


GROUPED = Case(
    "grouped",
    convolution(("NHWC", "HWIO", "NHWC"), feature_group_count=2),
    normal(3, 3, 3, 8),
    normal(1, 5, 5, 6),
)
FILLED = Case(
    "filled",
    lambda p, t: jnp.take(p["w"], t, axis=0, mode="fill", fill_value=5.0),
    normal(30, 8),
    jnp.array([2, 99]),
)
SLICED = Case(
    "rows in part",
    lambda p, t: jax.vmap(lambda i: jax.lax.dynamic_slice(p["w"], (i, 2), (1, 3)))(t),
    normal(30, 8),
    jnp.array([2, 3]),
)


@pytest.mark.parametrize("case", [GROUPED, FILLED, SLICED], ids=lambda case: case.name)
def test_the_product_is_formed_where_two_products_would_be_wrong(case):
    leaf, _ = structure.factorize({"w": case.weight}, rank=2, axes={"w": _table_or_kernel(case)})
    expected = case.fn(materialize(leaf), case.x)
    assert_close(structure.run_low_rank(case.fn)(leaf, case.x), expected)


def _table_or_kernel(case: Case) -> LeafAxes:
    return LeafAxes((0, 1, 2), (3,)) if case.weight.ndim == 4 else LeafAxes((1,), (0,))


def test_rows_outside_of_the_table_are_what_they_were():
    def fn(params, tokens):
        return jnp.take(params["w"], tokens, axis=0)

    params, _ = structure.factorize({"w": normal(30, 8)}, rank=2, axes={"w": LeafAxes((1,), (0,))})
    outputs = structure.run_low_rank(fn)(params, jnp.array([1, 99]))
    assert bool(jnp.all(jnp.isfinite(outputs[0])))
    assert bool(jnp.all(jnp.isnan(outputs[1])))


def test_other_axes_than_the_program_s_still_give_the_right_outputs():
    case = CASES[0]
    params, _ = structure.factorize({"w": case.weight}, rank=2, axes={"w": LeafAxes((1,), (0,))})
    expected = case.fn(materialize(params), case.x)
    assert_close(structure.run_low_rank(case.fn)(params, case.x), expected)


def test_half_precision_accumulates_in_float32():
    x, weight = normal(4, 512).astype(jnp.bfloat16), normal(512, 64).astype(jnp.bfloat16)

    def fn(params, x):
        return x @ params["w"]

    params, _ = structure.factorize({"w": weight}, rank=4)
    actual = structure.run_low_rank(fn)(params, x)
    assert actual.dtype == jnp.bfloat16
    left, right = (np.asarray(f, np.float64) for f in params["w"].factors.values())
    expected = np.asarray(x, np.float64) @ right.T @ left.T
    # The thin product and the output round to bfloat16; 4 terms add their errors.
    size = np.abs(np.asarray(x, np.float64) @ right.T).max() * np.abs(left).max()
    np.testing.assert_allclose(
        np.asarray(actual, np.float64), expected, rtol=2**-8, atol=4 * 2**-8 * size
    )


def test_plain_params_run_as_they_are():
    case = CASES[0]
    params = {"w": case.weight}
    np.testing.assert_array_equal(
        structure.run_low_rank(case.fn)(params, case.x), case.fn(params, case.x)
    )


@pytest.mark.parametrize("name", ["scan", "HWIO"])
def test_factors_are_quantized_and_run_like_any_weight(name):
    case = next(case for case in CASES if case.name == name)
    running, params = structure.run_low_rank(case.fn), structure.open_factors(factored(case))
    axes = graph.axes(running, params, case.x)
    codes, _ = quantize.quantize(params, quantize.int8(), axes=axes)
    expected = case.fn(materialize(structure.close_factors(codes)), case.x)
    assert_close(running(codes, case.x), expected)

    plan = quantize.plan_execution(running, codes, case.x, probe=_first_but_dense)
    assert {choice.leaf for choice in plan.choices} == {"w/left", "w/right"}
    assert_close(jax.jit(quantize.run(running, plan))(codes, case.x), expected)


def _first_but_dense(calls):
    """No timing: the form that reads codes and comes last in the alphabet."""
    return {name: 1.0 / (1 + sorted(calls).index(name)) for name in calls}
