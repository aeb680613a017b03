"""A leaf as matrices and back: 3 outputs of 4 inputs, in every layout."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.axes import LeafAxes
from jaxcompress.core.matrices import as_matrices, from_matrices, matrix_shape

MATRIX = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
LAYOUTS = {
    "out, in": (MATRIX, LeafAxes((1,), (0,))),
    "in, out": (MATRIX.T, LeafAxes((0,), (1,))),
    "window": (MATRIX.T.reshape(2, 2, 3), LeafAxes((0, 1), (2,))),
    "stack": (np.stack([MATRIX, -2 * MATRIX], axis=1), LeafAxes((2,), (0,), (1,))),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_matrices_and_leaves_are_inverse(name):
    leaf, roles = jnp.asarray(LAYOUTS[name][0]), LAYOUTS[name][1]
    matrices = as_matrices(leaf, roles)
    assert matrices.shape == matrix_shape(leaf.shape, roles)
    assert matrices.shape == (2 if name == "stack" else 1, 3, 4)
    np.testing.assert_array_equal(matrices[0], MATRIX)
    np.testing.assert_array_equal(from_matrices(matrices, roles, leaf), leaf)
