"""Which teacher and which data a cache is of, as plain values beside it."""

import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from jaxcompress.core.digests import row_digests, tree_digest
from jaxcompress.core.names import named_leaves
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.train.teacher_cache.contents import Content
from jaxcompress.train.teacher_cache.shards import finish, part

NAME = "manifest.json"
FORMAT = "jaxcompress teacher outputs, version 1"
BLOCK = 1024
"""Examples that are read at a time to be compared."""


def of_data(inputs: PyTree, n: int, content: Content) -> dict[str, Any]:
    """What a cache says of its data and of what it keeps."""
    leaves = named_leaves(inputs).items()
    form = {name: f"{leaf.dtype}{list(leaf.shape[1:])}" for name, leaf in leaves}
    return {
        "format": FORMAT,
        "number of examples": n,
        "form of an example": form,
        "content": json.loads(json.dumps(dict(content.description))),
    }


def of_teacher(fn: Model, params: Params, batch: PyTree) -> dict[str, Any]:
    """What a cache says of its teacher: its params, and what it computes of them.

    The program is compared as the same release of JAX writes it, for batches of one
    size: a program need not take others.

    Args:
      fn: the teacher.
      params: of it.
      batch: shapes of a batch.
    """
    program = jax.make_jaxpr(fn)(params, batch)
    # Functions are printed with their place in memory.
    text = re.sub(r"\b0x[0-9a-f]+", "", str(program))
    constants = [np.asarray(each) for each in _constants(program)]
    return {
        "teacher's params": tree_digest(params),
        "teacher's program": tree_digest([np.frombuffer(text.encode(), np.uint8), *constants]),
        "release of JAX": jax.__version__,
    }


def load(folder: pathlib.Path) -> dict[str, Any]:
    """The manifest of a folder; empty where there is none.

    Raises:
      ValueError: it is damaged.
    """
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged. Remove the folder, and fill it anew.") from error


def save(folder: pathlib.Path, manifest: Mapping[str, Any]) -> None:
    """Writes the manifest, whole or not at all."""
    text = json.dumps(manifest, indent=2) + "\n"
    with part(folder) as temporary:
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(text)
            finish(file)
        temporary.replace(folder / NAME)


def check(caller: str, folder: pathlib.Path, held: dict[str, Any], own: dict[str, Any]) -> None:
    """Raises a ValueError that says in what a cache differs from what is asked for."""
    known = dict(own)
    if known.get("release of JAX") != held.get("release of JAX"):
        known.pop("teacher's program", None)
    known.pop("release of JAX", None)
    for field, value in known.items():
        if held.get(field) != value:
            raise ValueError(
                f"{caller}(folder={str(folder)!r}): this cache is of another {field}: "
                f"{held.get(field)}, where this call's is {value}. Choose another folder, or "
                "remove it."
            )


def digests(inputs: PyTree, begin: int, end: int) -> np.ndarray:
    """Of the examples from `begin` to `end`, (end - begin, 16) uint8."""
    found = []
    for first in range(begin, end, BLOCK):
        last = min(first + BLOCK, end)
        found.append(
            row_digests([np.asarray(leaf[first:last]) for leaf in jax.tree.leaves(inputs)])
        )
    return np.concatenate(found)


def _constants(jaxpr: Any) -> Iterator[Any]:
    """The arrays that a program holds, with those of the programs that it calls."""
    yield from getattr(jaxpr, "consts", ())
    for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield from (atom.val for atom in eqn.invars if isinstance(atom, Literal))
        for inner in jax.tree.leaves(list(eqn.params.values())):
            if hasattr(inner, "eqns"):
                yield from _constants(inner)
