"""Every exported method is in the index and on a page."""

import inspect

import pytest

from tests import methods
from website import measured


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
    assert methods.usual_names("Nothing.") == ()
    assert methods.source("Nothing.") == ""
