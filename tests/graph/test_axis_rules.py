"""Axis rules one by one: which units may go, and shrunk equals masked with gradients.

A newcomer adds a row: a model, its params and inputs, and the units of each family.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jaxcompress import graph
from tests.graph import oracle
from tests.graph.zoo import normal, tokens


class Case(NamedTuple):
    """A model, its params and inputs, and the sizes of the families it must have."""

    fn: Callable
    params: dict
    inputs: tuple
    units: dict
    gradients: bool = True


def between(operation: Callable, *, inner: int = 4, wide: int = 4, units: dict) -> Case:
    """An operation on (3, 5, inner) between two layers, into (…, wide)."""
    params = {"in": normal(1, 6, inner), "out": normal(2, wide, 2)}

    def fn(params, x):
        return operation(jnp.tanh(x @ params["in"])) @ params["out"]

    return Case(fn, params, (normal(3, 3, 5, 6),), units)


def at_rows(operation: Callable, params: dict | None = None) -> Case:
    """An operation on one example and its own position, for a batch of both."""
    params = {"in": normal(1, 6, 4), "out": normal(2, 4, 2)} | (params or {})

    def fn(params, x, at):
        hidden = jax.vmap(lambda x, at: operation(params, x @ params["in"], at))(x, at)
        return hidden @ params["out"]

    return Case(fn, params, (normal(3, 3, 5, 6), jnp.array([0, 4, 2])), {"in:1": 4})


def by_data(mode: str) -> Case:
    """Slices that an index array places along both axes, one of which they fill."""
    numbers = lax.GatherDimensionNumbers((1, 2), (), (0, 1))
    at = jnp.array([[0, 0], [2, 1], [7, 0], [3, -2]])

    def taken(x):
        return lax.gather(x[0], at, numbers, (2, 4), mode=mode, fill_value=3.0)

    return between(taken, units={"in:1": 4})


def averaged(x: jax.Array) -> jax.Array:
    """A linear recurrence by an associative scan, as Mamba and S5 have."""

    def joined(one, other):
        return one[0] * other[0], other[0] * one[1] + other[1]

    return lax.associative_scan(joined, (jax.nn.sigmoid(x), x), axis=1)[1]


def recurrences() -> Case:
    """Scans of lengths that leave slices of their halves empty."""

    def of_lengths(x):
        return jnp.concatenate([averaged(x[:, :length]) for length in (1, 2, 5, 8)], axis=1)

    return between(of_lengths, units={"in:1": 4})._replace(inputs=(normal(3, 2, 9, 6),))


def solved(operation: Callable, units: dict) -> Case:
    """A solve with a matrix of params, whose right-hand sides are activations."""
    params = {
        "matrix": 6 * jnp.eye(6) + normal(1, 6, 6),
        "in": normal(2, 5, 4),
        "out": normal(3, 4, 2),
    }

    def fn(params, x):
        return operation(params["matrix"], x.T @ params["in"]) @ params["out"]

    return Case(fn, params, (normal(3, 5, 6),), units)


def kernel_machines() -> Case:
    """One solve for each head; what heads share with the matrix may go."""
    params = {
        "key": normal(1, 3, 6),
        "value": normal(2, 3, 6, 4),
        "out": normal(3, 3, 4, 2),
    }

    def fn(params, x):
        gram = jnp.einsum("mk,hk,nk->hmn", x, params["key"], x) + 9 * jnp.eye(5)[None]
        values = jnp.einsum("mk,hkv->hmv", x, params["value"])
        solution = jax.vmap(jnp.linalg.solve)(gram, values)
        return jnp.einsum("hmv,hvo->mo", solution, params["out"])

    return Case(fn, params, (normal(3, 5, 6),), {"key:0": 3, "value:2": 4})


def routed_experts() -> Case:
    """Tokens sorted by expert, each group multiplied by matrices of its own."""
    params = {"up": normal(1, 3, 6, 8), "down": normal(2, 3, 8, 6)}

    def fn(params, x, sizes):
        hidden = jnp.tanh(lax.ragged_dot(x, params["up"], sizes))
        return lax.ragged_dot(hidden, params["down"], sizes)

    return Case(fn, params, (normal(3, 5, 6), jnp.array([2, 0, 3])), {"up:2": 8})


def slope_of_experts() -> Case:
    """A ragged dot whose sum falls into groups, as the gradient of one does."""
    case = routed_experts()

    def fn(params, x, sizes):
        return jax.grad(lambda params: jnp.sum(case.fn(params, x, sizes) ** 2))(params)["up"].sum(2)

    # JAX has no derivative of it.
    return case._replace(fn=fn, units={"up:2": 8, "down:2": 6}, gradients=False)


def embedded() -> Case:
    def fn(params, ids):
        table = params["table"]
        return jax.vmap(jax.vmap(lambda each: table[each]))(ids) @ params["out"]

    params = {"table": normal(1, 11, 4), "out": normal(2, 4, 2)}
    return Case(fn, params, (tokens(2, 3),), {"table:1": 4})


CASES = {
    "an embedding under vmap": embedded(),
    "a row for each example": at_rows(lambda p, x, at: x[at]),
    "a row for each example, or zeros": at_rows(
        lambda p, x, at: x.at[at + 2].get(mode="fill", fill_value=0.5)
    ),
    "a window for each example": at_rows(
        lambda p, x, at: lax.dynamic_slice(x, (at, 0 * at), (2, 4))
    ),
    "a cache with a position for each example": at_rows(
        lambda p, x, at: lax.dynamic_update_slice(p["cache"], x[:1], (at, 0 * at)),
        {"cache": normal(4, 8, 4)},
    ),
    "added at a position for each example": at_rows(
        lambda p, x, at: p["cache"].at[at].add(x[0]), {"cache": normal(4, 8, 4)}
    ),
    "slices by data, clipped": by_data("clip"),
    "slices by data, filled": by_data("fill"),
    "tiled along other axes": between(lambda x: jnp.tile(x, (2, 3, 1)), units={"in:1": 4}),
    "tiled along features": between(
        lambda x: jnp.tile(x, (1, 1, 3)), wide=12, units={"in:1": 4, "out:0": 3}
    ),
    "flipped there and back": between(
        lambda x: jnp.tanh(x[..., ::-1])[..., ::-1], units={"in:1": 4}
    ),
    "flipped along a group": between(
        lambda x: x.reshape(3, 5, 2, 3)[..., ::-1].reshape(x.shape),
        inner=6,
        wide=6,
        units={"in:1": 2, "in:1#2": 3},
    ),
    "both ways side by side": between(
        lambda x: jnp.concatenate([x, x[..., ::-1]], -1), wide=8, units={"in:1": 4}
    ),
    "added to its flip": between(lambda x: x + jnp.flip(x, -1), inner=7, wide=7, units={"in:1": 3}),
    "a reduction by a function of one's own": between(
        lambda x: lax.reduce(x, 0.0, lambda a, b: a + b * 1.0, (1,)), units={"in:1": 4}
    ),
    "about the largest along another axis": between(
        lambda x: lax.approx_max_k(x, 2, reduction_dimension=1)[0], units={"in:1": 4}
    ),
    "solve": solved(jnp.linalg.solve, {"in:1": 4}),
    "solve, a column at a time": solved(
        lambda a, b: jax.vmap(jnp.linalg.solve, (None, 1), 1)(a, b), {"in:1": 4}
    ),
    "triangular solve": solved(
        lambda a, b: jax.scipy.linalg.solve_triangular(a, b, lower=True), {"in:1": 4}
    ),
    "triangular solve from the right": solved(
        lambda a, b: lax.linalg.triangular_solve(a, b.T, left_side=False).T, {"in:1": 4}
    ),
    "tridiagonal solve": solved(
        lambda a, b: lax.linalg.tridiagonal_solve(a[0], a[1] + 9, a[2], b), {"in:1": 4}
    ),
    "Cholesky": solved(
        lambda a, b: jax.scipy.linalg.cho_solve(
            jax.scipy.linalg.cho_factor(a @ a.T + jnp.eye(6)), b
        ),
        {"matrix:1": 6, "in:1": 4},
    ),
    "a solve for each head": kernel_machines(),
    "experts": routed_experts(),
    "the gradient of experts": slope_of_experts(),
    "associative scans": recurrences(),
}


@pytest.mark.parametrize("name", CASES)
def test_shrunk_equals_masked(name):
    case = CASES[name]
    with jax.enable_x64(True):
        params, inputs = oracle.widened(case.params), oracle.widened(case.inputs)
        couplings = graph.couplings(case.fn, params, *inputs)
        assert couplings.units == case.units
        some = {
            family.name: [0, family.size - 1][: family.size - 1] for family in couplings.families
        }
        removed = couplings.removal(some)
        apart = oracle.difference(case.fn, params, inputs, removed, gradients=case.gradients)
    assert max(apart) <= oracle.TOLERANCE
