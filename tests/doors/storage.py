"""Valid calls of files, and which odd values they accept."""

import functools
import pathlib
import tempfile

import jax.numpy as jnp

import jaxcompress as jc
from tests.doors import models
from tests.doors.graph import removal
from tests.doors.table import Doors
from tests.doors.values import TEXT, TREE


@functools.cache
def folder() -> tempfile.TemporaryDirectory:
    """One folder for all calls; it is removed with the process."""
    return tempfile.TemporaryDirectory()


def path() -> pathlib.Path:
    return pathlib.Path(folder().name, "written.safetensors")


def saved() -> pathlib.Path:
    """A file of a model that lost a unit."""
    found = pathlib.Path(folder().name, "saved.safetensors")
    if not found.exists():
        small = jc.graph.surgery.slice_params(models.PARAMS, removal())
        jc.storage.save(found, small, removal=removal())
    return found


def difference() -> pathlib.Path:
    found = pathlib.Path(folder().name, "difference.safetensors")
    if not found.exists():
        jc.storage.save_delta(found, jc.storage.load(saved()), base=saved())
    return found


def index() -> pathlib.Path:
    return pathlib.Path(folder().name, "written.safetensors.index.json")


def factors() -> jc.storage.Factors:
    return jc.storage.Factors(rank=1)


DOORS = Doors(
    given={"path": saved, "tree": lambda: {"w": jnp.ones(2)}, "name": lambda: "in"},
    calls={
        "storage.save": {"path": path},
        "storage.save_shards": {"path": index},
        "storage.save_delta": {"path": path, "base": saved},
        "storage.save_bit_delta": {"path": path, "base": saved},
        "storage.save_low_rank_delta": {"path": path, "base": saved, "factors": factors},
        "storage.load_delta": {"path": difference, "base": saved},
    },
    right={"tree": TREE, "path": TEXT, "name": TEXT, "base": TEXT},
)
