"""A cut is checked when it is built, before anything is traced or scored."""

from typing import Any

import jax.numpy as jnp
import pytest

from jaxcompress.graph import Divisors
from jaxcompress.structure import Cut, amounts, importance, plan

ONE = amounts.count(1)
PARAMS = {"in": jnp.ones((2, 4)), "out": jnp.ones((4, 1))}


def model(params, x):
    return jnp.tanh(x @ params["in"]) @ params["out"]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a number": ({"amount": 0.5}, r"Cut\(amount=0.5\) must be one of structure.amounts"),
    "an amount that is not called": ({"amount": amounts.fraction}, r"Cut\(amount=<function"),
    "one family": ({"families": "*"}, r"Cut\(families='\*'\) must be patterns"),
    "a generator of families": ({"families": iter(["*"])}, "must be a list of patterns"),
    "no family": ({"families": []}, r"Cut\(families=\[\]\) names no family"),
    "a floor": ({"floors": 0}, r"Cut\(floors=0\) must be at least 1"),
    "a multiple": ({"multiple_of": 1.5}, r"Cut\(multiple_of=1.5\) must be at least 1"),
    "a divisor": ({"divisors": None}, r"Cut\(divisors=None\) must be one of 'kept', 'new'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_cut_is_checked_when_built(name):
    given, message = WRONG[name]
    fields: dict[str, Any] = {"amount": ONE, **given}
    with pytest.raises((TypeError, ValueError), match=message):
        Cut(**fields)


def test_the_name_of_a_divisor_stands_for_it():
    assert Cut(ONE, divisors="kept").divisors is Divisors.KEPT  # pyright: ignore[reportArgumentType]


def test_what_is_neither_cut_nor_amount_is_refused():
    half: Any = 0.5
    with pytest.raises(TypeError, match=r"plan\(cut=0.5\) .*amounts.fraction\(0.5\)"):
        plan(model, PARAMS, importance.magnitude(), jnp.ones((3, 2)), cut=half)
