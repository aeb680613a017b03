"""Every exported method is in the index and on a page."""

import inspect
import re

import optax
import pytest

import jaxcompress as jc
from tests import methods
from website import measured

NO_LIMITS = {
    "quantize.rounding.orders.by_energy": "no order left less error in less time",
    "train.augment.chain": "it only puts others one after another",
}
"""Methods with a usual name beside which no other does better, and why."""


def test_the_pages_are_up_to_date():
    written = {path.name: path.read_text(encoding="utf-8") for path in methods.FOLDER.glob("*.md")}
    made = {name: f"{text.rstrip()}\n" for name, text in methods.pages().items()}
    assert written == made, "run: python -m tests.methods"


def test_what_was_measured_is_of_methods():
    calls = {method.call for room in methods.ROOMS for method in methods.methods(room)}
    assert set(measured.MEASURED) <= calls


@pytest.mark.parametrize("room", methods.ROOMS)
def test_every_method_is_on_a_page(room):
    found = list(methods.methods(room))
    assert found
    assert [method.call for method in found if not method.page] == []


@pytest.mark.parametrize("room", methods.ROOMS)
def test_every_method_with_a_usual_name_says_when_to_take_another(room):
    named = [method for method in methods.methods(room) if method.names]
    excused = {call for call in NO_LIMITS if call.startswith(f"{room}.")}
    assert {method.call for method in named if not method.limits} == excused


@pytest.fixture(scope="module")
def callables():
    """Calls with each way to shorten them from the left, and what the top exports."""
    calls = [call.split(".") for room in methods.ROOMS for call in methods.exported_by(room)]
    shortened = {".".join(parts[i:]) for parts in calls for i in range(len(parts))}
    return shortened | {name for name in dir(jc) if callable(getattr(jc, name))}


@pytest.mark.parametrize("room", methods.ROOMS)
def test_what_to_take_instead_exists(room, callables):
    functions = methods.exported_by(room)
    for method in methods.methods(room):
        known = callables | set(inspect.signature(functions[method.call]).parameters)
        for name in re.findall(r"`(.+?)`", method.limits):
            package, _, member = name.rpartition(".")
            exists = hasattr(optax, member) if package == "optax" else name in known
            assert exists, (method.call, name)


def test_what_docstrings_say_is_read():
    docstring = inspect.cleandoc(
        """Raises a sparsity.

        Also known as: gradual pruning (GMP, agp), L2,1 in [0, 1], polynomial
        decay. More text.

        Source: Zhu et al. 2017, arXiv:1710.01878, equation 1. Differs: not at all.
        """
    )
    assert methods.usual_names(docstring) == (
        "gradual pruning (GMP, agp)",
        "L2,1 in [0, 1]",
        "polynomial decay",
    )
    assert methods.source(docstring).startswith("Zhu et al. 2017, [arXiv:1710.01878](https://")
    assert (
        methods.source(
            "Source: Ba, Li and Zhu 2007, pages 3 to 5, as in Yao 2020, arXiv:2006.00719; Hu et\n"
            "al. 2021, arXiv:2106.09685, section 4. Differs: as Xu 2022, arXiv:2201.00001; more."
        )
        == "Ba, Li and Zhu 2007; Hu et al. 2021, [arXiv:2106.09685](https://arxiv.org/abs/2106.09685)"
    )
    assert methods.usual_names("Nothing.") == ()
    assert methods.source("Nothing.") == ""
