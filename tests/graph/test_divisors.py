"""Divisors of means over removed units: kept, or those of the function anew."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import graph, structure
from jaxcompress.graph import surgery
from jaxcompress.graph.surgery.check import difference
from tests.inputs import on_device

EPS = float(np.finfo(np.float32).eps)


def normal(seed: int, *shape: int) -> jax.Array:
    return on_device(np.random.default_rng(seed).normal(size=shape))


def two_pass(x):
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(jnp.var(x, -1, keepdims=True) + 1e-5)


def one_pass(x):
    mean = x.mean(-1, keepdims=True)
    variance = jnp.mean(jnp.square(x), -1, keepdims=True) - mean**2
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5)


def corrected(x):
    return x / jnp.std(x, -1, keepdims=True, ddof=1)


def root_mean_square(x):
    return x * jax.lax.rsqrt(jnp.sum(x * x, -1, keepdims=True) / x.shape[-1] + 1e-6)


def in_two_groups(x):
    apart = x.reshape(*x.shape[:-1], 2, x.shape[-1] // 2)
    return (apart / (1e-3 + jnp.mean(jnp.abs(apart), -1, keepdims=True))).reshape(x.shape)


def narrow(x):
    return two_pass(x.astype(jnp.bfloat16).astype(jnp.float32)).astype(jnp.bfloat16)


def called(x):
    return jax.checkpoint(jax.jit(two_pass))(x)


def scanned(x):
    return jax.lax.scan(lambda x, _: (two_pass(x) + 0.1, None), x, length=2)[0]


NORMS = (
    two_pass,
    one_pass,
    corrected,
    root_mean_square,
    in_two_groups,
    narrow,
    called,
    scanned,
)
PARAMS = {"in": normal(1, 3, 8), "out": normal(2, 8, 2)}
X = normal(3, 5, 3)


def model(norm: Callable) -> Callable:
    return lambda params, x: norm(x @ params["in"]).astype(jnp.float32) @ params["out"]


def removal(fn: Callable, divisors: graph.Divisors) -> graph.Removal:
    """Half of the width, of both groups alike where they are coupled."""
    coupled = graph.couplings(fn, PARAMS, X)
    family = max(coupled.families, key=lambda family: family.size)
    units = range(0, family.size, 2)
    return dataclasses.replace(coupled.removal({family.name: units}), divisors=divisors)


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.__name__)
def test_new_divisors_are_those_of_the_function_at_its_new_width(norm):
    fn = model(norm)
    kept, new = (removal(fn, each) for each in graph.Divisors)
    small = surgery.slice_params(PARAMS, new)
    wanted = jax.jit(fn)(small, X)
    tolerance = 64 * (float(jnp.finfo(jnp.bfloat16).eps) if norm is narrow else EPS)
    shrunk = jax.jit(surgery.shrink(fn, new))(small, X)
    assert difference(shrunk, wanted) <= tolerance
    assert difference(jax.jit(surgery.masked(fn, new))(PARAMS, X), wanted) <= tolerance
    assert difference(surgery.shrink(fn, kept)(small, X), wanted) > 0.05


def test_gradients_are_those_of_the_function_at_its_new_width():
    fn = model(two_pass)
    new = removal(fn, graph.Divisors.NEW)
    small = surgery.slice_params(PARAMS, new)
    found, wanted = (
        jax.grad(lambda params, each=each: jnp.sum(each(params, X) ** 2))(small)
        for each in (surgery.shrink(fn, new), fn)
    )
    assert difference(found, wanted) <= 256 * EPS


def test_a_mean_with_a_gradient_of_its_own_is_refused():
    @jax.custom_jvp
    def own(x):
        return x - x.mean(-1, keepdims=True)

    own.defjvp(lambda primals, tangents: (own(*primals), tangents[0]))
    fn = model(own)
    new = removal(fn, graph.Divisors.NEW)
    with pytest.raises(
        ValueError, match=r"Divisors.NEW: a mean .* custom_jvp_call, whose own grad"
    ):
        surgery.shrink(fn, new)(surgery.slice_params(PARAMS, new), X)


def test_the_report_of_a_removal_measures_both_and_rounds_go_on():
    fn, half = model(two_pass), structure.amounts.fraction(0.5)
    removed = structure.remove(
        fn,
        PARAMS,
        structure.importance.magnitude(),
        X,
        cut=structure.Cut(half, divisors=graph.Divisors.NEW),
    )
    whole, report = fn(PARAMS, X), removed.report
    kept = surgery.shrink(fn, dataclasses.replace(removed.removal, divisors=graph.Divisors.KEPT))
    for name, smaller in (("new", removed.fn), ("kept", kept)):
        apart = difference(smaller(removed.params, X), whole)
        assert report.to_whole[name] == pytest.approx(apart, rel=1e-3)
        assert f"{report.to_whole[name]:.1e} with {name}" in str(report)
    again = structure.iterative(
        fn,
        PARAMS,
        structure.importance.magnitude(),
        X,
        cuts=[structure.Cut(structure.amounts.count(2), divisors=graph.Divisors.NEW)] * 2,
        fine_tune=lambda fn, params, turn: params,
    )
    assert difference(again.fn(again.params, X), fn(again.params, X)) <= 64 * EPS


def test_where_no_mean_runs_over_removed_units_nothing_is_measured():
    fn = model(jnp.tanh)
    half = structure.amounts.fraction(0.5)
    assert (
        structure.remove(fn, PARAMS, structure.importance.magnitude(), X, cut=half).report.to_whole
        == {}
    )
