"""Numbers of NumPy and JAX are as good as those of Python, wherever a number is due.

Every number of a valid call, a default too, is passed as another kind of scalar.
"""

import importlib
import inspect

import jax.numpy as jnp
import numpy as np
import pytest

from tests.doors import surface
from tests.doors.sweep import called, traced

ROOMS = tuple(room for room in surface.ROOMS if room not in ("bridges", "optimizers", "storage"))
"""Not those that take none, nor the optimizers, which have tests of their own."""
KINDS = {float: jnp.float32, int: np.int64}


def numbers(function, valid):
    """The numbers of a call, by argument, each as another kind of scalar."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
    }
    return {
        name: KINDS[type(value)](value)
        for name, value in (defaults | valid).items()
        if type(value) in KINDS
    }


CALLS = [
    pytest.param(doors, name, function, id=name)
    for room in (*ROOMS, surface.CLASSES, surface.TOP)
    for doors in [importlib.import_module(f"tests.doors.{room}").DOORS]
    for name, function in surface.functions(room).items()
    if numbers(function, doors.valid(name, function))
]


@pytest.mark.parametrize(("doors", "name", "function"), CALLS)
def test_every_kind_of_number_is_accepted(doors, name, function):
    valid = doors.valid(name, function)
    call = traced if name in doors.traced else called
    call(function, valid | numbers(function, valid))
