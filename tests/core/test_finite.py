"""Where data hold NaN or infinity, against a loop over examples."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.finite import not_finite

PLACES = {"of NumPy": np.asarray, "of JAX": jnp.asarray}
SHAPES = [(6,), (6, 3), (6, 2, 2)]


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16, np.complex64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_the_first_example_and_their_number_are_those_of_a_loop(place, dtype, shape, wrong):
    x = np.ones(shape, dtype)
    x.reshape(6, -1)[[4, 2], -1] = wrong
    bad = [i for i, each in enumerate(x) if not np.isfinite(np.asarray(each, np.complex64)).all()]
    assert bad == [2, 4]
    said = not_finite("inputs", {"whole": place(np.arange(6)), "x": place(x)})
    assert said.startswith(
        "The inputs at 'x' hold NaN or infinity in 2 of 6 examples, the first is"
    )
    assert "example 2." in said
    only = np.arange(6) > 2
    assert "in 1 of 6 examples, the first is example 4." in not_finite("inputs", place(x), only)
    assert not not_finite("inputs", place(x), np.arange(6) == 0)


@pytest.mark.parametrize(
    "tree",
    [
        np.ones((3, 0), np.float32),
        np.arange(3),
        np.array(["a", "b"]),
        [],
        (None, "text"),
        np.eye(2),
    ],
    ids=["no numbers", "integers", "texts", "nothing", "no arrays", "finite"],
)
def test_all_else_is_finite(tree):
    assert not_finite("data", tree) == ""
