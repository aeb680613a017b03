"""Every exported method is in the index and on a page."""

import inspect

import pytest

from tests import methods


def test_the_index_is_up_to_date():
    written = methods.PAGE.read_text(encoding="utf-8")
    assert written == methods.text(), "run: python -m tests.methods"


@pytest.mark.parametrize("room", methods.ROOMS)
def test_every_method_is_on_a_page(room):
    found = list(methods.methods(room))
    assert found
    assert [method.call for method in found if not method.page] == []


def test_what_docstrings_say_is_read():
    docstring = inspect.cleandoc(
        """Raises a sparsity.

        Also known as: gradual pruning (GMP, agp), polynomial
        decay. More text.

        Source: Zhu et al. 2017, arXiv:1710.01878, equation 1. Differs: not at all.
        """
    )
    assert methods.usual_names(docstring) == ("gradual pruning (GMP, agp)", "polynomial decay")
    assert methods.source(docstring).startswith("Zhu et al. 2017, [arXiv:1710.01878](https://")
    assert methods.usual_names("Nothing.") == ()
    assert methods.source("Nothing.") == ""
