"""Counts are whole numbers and numbers are finite, in every factory and verb."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress import Rules, graph
from jaxcompress import structure as s
from jaxcompress.structure import amounts, importance, penalties, ranks

PARAMS = {"in": jnp.eye(4), "out": jnp.ones((4, 2))}
X = jnp.ones((3, 4))


def fn(params, x):
    return jnp.tanh(x @ params["in"]) @ params["out"]


def loss(outputs, targets):
    return ((outputs - targets) ** 2).sum(-1)


FOUND = graph.couplings(fn, PARAMS, X)


def planned(**options):
    return s.plan(fn, PARAMS, importance.magnitude(), X, cut=s.Cut(amounts.count(1), **options))


def without_blocks(count):
    def residual(params, x):
        return x + x @ params["in"]

    return s.remove_blocks(residual, PARAMS, lambda *_: {"in": jnp.ones(())}, X, count=count)


NOT_COUNTS = (math.nan, math.inf, 1.5, -1, True)
COUNTS = {
    "exact(chunk": lambda bad: importance.exact(loss, [], chunk=bad),
    "linearized(chunk_bytes": lambda bad: importance.linearized(loss, [], chunk_bytes=bad),
    "count(removed": lambda bad: amounts.count(bad),
    "count(removed, by rule": lambda bad: amounts.count(Rules({"a": 1, "*": bad})),
    "Cut(floors": lambda bad: planned(floors=bad),
    "Cut(multiple_of": lambda bad: planned(multiple_of=Rules({"*": bad})),
    "at_most(rank": lambda bad: ranks.at_most(bad),
    "factorize(rank": lambda bad: s.factorize(PARAMS, rank=bad),
    "budget(count": lambda bad: ranks.budget(bad),
    "remove_blocks(count": without_blocks,
}

NARROW = {
    "exact(chunk": lambda two: importance.exact(loss, [(X, X[:, :2])], chunk=two)(
        fn, PARAMS, FOUND
    ),
    "linearized(chunk_bytes": lambda two: importance.linearized(
        loss, [(X, X[:, :2])], chunk_bytes=two
    )(fn, PARAMS, FOUND),
    "count(removed": lambda two: (
        s.plan(fn, PARAMS, importance.magnitude(), X, cut=amounts.count(two)).after
    ),
    "Cut(floors": lambda two: planned(floors=two).after,
    "Cut(multiple_of": lambda two: planned(multiple_of=two).after,
    "budget(count": lambda two: ranks.budget(two)({}),
}

NOT_NUMBERS = (math.nan, math.inf, -1.0)
NUMBERS = {
    "fraction(removed": amounts.fraction,
    "within_parameters(limit": amounts.within_parameters,
    "within_bytes(limit": amounts.within_bytes,
    "within_macs(limit": amounts.within_macs,
    "within_latency(milliseconds": amounts.within_latency,
    "energy(share": ranks.energy,
    "parameters(share": ranks.parameters,
    "factorize(damping": lambda bad: s.factorize(PARAMS, rank=1, damping=bad),
    "group_lasso(weight": penalties.group_lasso,
    "proximal_group_lasso(weight": lambda bad: penalties.proximal_group_lasso(0.1, bad),
    "proximal_group_lasso(learning_rate": lambda bad: penalties.proximal_group_lasso(bad, 0.1),
}


@pytest.mark.parametrize("bad", NOT_COUNTS, ids=str)
@pytest.mark.parametrize("name", COUNTS)
def test_what_is_no_count_is_refused(name, bad):
    with pytest.raises(ValueError, match=rf"\w+\(\w+={bad}\)"):
        COUNTS[name](bad)


@pytest.mark.parametrize("name", NARROW)
def test_a_narrow_numpy_integer_counts_as_an_int_does(name):
    assert str(NARROW[name](np.uint8(2))) == str(NARROW[name](2))


@pytest.mark.parametrize("bad", NOT_NUMBERS, ids=str)
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_refused(name, bad):
    caller, argument = name.split("(")
    with pytest.raises(ValueError, match=rf"{caller}\({argument}={bad}\)"):
        NUMBERS[name](bad)


def scored(values):
    return lambda fn, params, couplings: {"in:1": jnp.asarray(values, jnp.float32)}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize(
    "wrap", [lambda each: each, importance.normalized], ids=["plain", "normalized"]
)
def test_a_score_that_is_not_finite_is_named_and_removes_nothing(wrap, bad):
    importance = wrap(scored([1.0, bad, 3.0, 0.5]))
    with pytest.raises(ValueError, match=rf"scores unit \(1,\) of 'in:1' as {bad}"):
        s.plan(fn, PARAMS, importance, X, cut=amounts.count(1))


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30], ids=str)
def test_normalized_scores_have_length_one_whatever_their_size(size):
    (found,) = importance.normalized(scored([3 * size, 0.0, 4 * size, 0.0]))(
        fn, PARAMS, None
    ).values()
    np.testing.assert_allclose(found, [0.6, 0.0, 0.8, 0.0], rtol=1e-6)
