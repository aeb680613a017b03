"""Fixtures for all tests: a key, the data folder, meshes.

What holds for the whole process is set in `../conftest.py`.
"""

import math
import os
import pathlib
from collections.abc import Callable

import jax
import pytest
from jax.sharding import AxisType, Mesh


@pytest.fixture
def key() -> jax.Array:
    """A typed PRNG key with a fixed seed."""
    return jax.random.key(0)


@pytest.fixture(scope="session")
def data_dir() -> pathlib.Path:
    """The folder of data sets that `JAXCOMPRESS_DATA` names; without it, a skip."""
    folder = os.environ.get("JAXCOMPRESS_DATA")
    if not folder:
        pytest.skip("JAXCOMPRESS_DATA does not name a folder of data sets.")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def mesh() -> Callable[..., Mesh]:
    """Meshes by axis sizes: `mesh(data=4, axis_type=AxisType.Explicit)`.

    The axis type is always passed on, since `jax.make_mesh` has changed its default.
    """

    def of_sizes(*, axis_type: AxisType = AxisType.Auto, **sizes: int) -> Mesh:
        count = math.prod(sizes.values())
        if count > jax.device_count():
            pytest.skip(f"This mesh takes {count} devices; there are {jax.device_count()}.")
        return jax.make_mesh(
            tuple(sizes.values()),
            tuple(sizes),
            axis_types=(axis_type,) * len(sizes),
            devices=jax.devices()[:count],
        )

    return of_sizes
