"""Computing what a cache lacks, and opening it."""

import os
import pathlib
from typing import Any

import numpy as np

from jaxcompress.core.batches import count_of, whole_rows
from jaxcompress.core.checks import check_concrete, check_count, check_fits
from jaxcompress.core.kinds import check_kind, check_path, check_takes
from jaxcompress.core.progress import bar
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.train.teacher_cache import manifest
from jaxcompress.train.teacher_cache.computing import (
    batch_shapes,
    computed,
    program,
    shapes,
    shard_size,
)
from jaxcompress.train.teacher_cache.contents import Content
from jaxcompress.train.teacher_cache.rows import Shards
from jaxcompress.train.teacher_cache.shards import PART, remove_parts, write


def fill(
    folder: str | os.PathLike[Any],
    fn: Model,
    params: Params,
    inputs: PyTree,
    content: Content,
    *,
    batch_size: int = 256,
) -> PyTree:
    """Computes a teacher's outputs for all examples once, and gives them from the disk.

    Not for: inputs that are augmented anew in each step; ask the teacher in the step.

    In jitted batches of one size; each shard of some batches is on the disk whole or
    not at all. After a stop anywhere the same call computes what is missing, with any
    batch size, and a call on a full cache computes nothing. Every example is compared
    with the one that its outputs were made of; one process fills a folder at a time.

    Args:
      folder: of this cache alone; made where missing.
      fn: teacher in evaluation mode, `fn(params, inputs) -> outputs`, one floating
        array (b, …). For a teacher of several inputs pass a tuple and
        `lambda params, inputs: fn(params, *inputs)`; of several outputs give one.
      params: its params, a tree of arrays.
      inputs: array, or tree of arrays, with first axis n, in the order in which they
        are to be looked up; memory-mapped ones are read batch by batch.
      content: `whole`, `top_k` or `draws`: what is kept.
      batch_size: examples per call; fewer when there are fewer.

    Returns:
      Targets of the n examples as the content has them: a tree of `Rows`, which read
      from the disk what they are indexed by.

    Raises:
      TypeError: an argument is of another kind, or traced; outputs are no floating
        array.
      ValueError: there are no examples, or they disagree on how many; an output lacks
        their axis, holds NaN or +inf, rules every class out, or is too large for the
        dtype: the first example is named; the folder holds a cache of another teacher,
        of other data or of other content: it says which; a file is damaged.
      OSError: the folder cannot be written.

    Example:
      >>> import tempfile
      >>> fn, x = lambda params, x: x @ params, np.eye(3, dtype=np.float32)
      >>> kept = jc.train.teacher_cache.whole(jnp.float32)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     found = jc.train.teacher_cache.fill(folder, fn, 2 * jnp.eye(3), x, kept)
      ...     found, found[np.array([2, 0])]
      (Rows(float32[3, 3]), array([[0., 0., 2.],
             [2., 0., 0.]], dtype=float32))

    Also known as: offline distillation, precomputed logits, teacher logit cache.
    """
    check_takes("fill", "fn", fn, 2, "It is the teacher, fn(params, inputs).")
    check_arrays("fill", "params", params)
    batch_size = check_count("fill", "batch_size", batch_size)
    where, n = _checked("fill", folder, inputs, content)
    check_concrete("fill", params=params)
    inputs, size = whole_rows(inputs), min(batch_size, n)
    run = program(fn, content)
    kept, shape = shapes(run, fn, params, inputs, size)
    held = manifest.load(where)
    first = {"batch size": size, "examples in a shard": shard_size(kept, size)}
    first = {field: held.get(field, value) for field, value in first.items()}
    batch = batch_shapes(inputs, first["batch size"])
    own = manifest.of_data(inputs, n, content) | manifest.of_teacher(fn, params, batch)
    shards = _begun(where, held, own | {"shape of the outputs": list(shape)} | first, inputs)
    lacking = [number for number in range(shards.count) if not shards.path(number).exists()]
    with bar("teacher", len(lacking)) as advance:
        for done, number in enumerate(lacking):
            begin, end = shards.extent(number)
            arrays = computed(run, params, inputs, range(begin, end), size)
            files = dict(content.packed(arrays, shape))
            write(shards.path(number), files | {"examples": manifest.digests(inputs, begin, end)})
            advance(done + 1, "")
    return content.rows(shards)


def read(folder: str | os.PathLike[Any], inputs: PyTree, content: Content) -> PyTree:
    """The targets that `fill` has left, for a process that has no teacher.

    Which teacher they are of is not compared: `fill` does that.

    Args:
      folder: of a full cache.
      inputs: the examples, as they were given to `fill`; each is compared.
      content: as it was.

    Returns:
      What `fill` gives.

    Raises:
      TypeError: an argument is of another kind.
      ValueError: there is no cache, it is not full, it is of other data or content, or
        a file is damaged.

    Example:
      >>> import tempfile
      >>> fn, x = lambda params, x: x @ params, np.eye(2, dtype=np.float32)
      >>> cache = jc.train.teacher_cache
      >>> kept = cache.top_k(1)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     targets = cache.fill(folder, fn, 99 * jnp.eye(2), x, kept)
      ...     cache.read(folder, x, kept).indices[:]
      array([[0],
             [1]], dtype=uint16)
    """
    where, n = _checked("read", folder, inputs, content)
    held = manifest.load(where)
    if not held:
        raise ValueError(f"read(folder={str(where)!r}) holds no cache. Make it with fill.")
    inputs = whole_rows(inputs)
    manifest.check("read", where, held, manifest.of_data(inputs, n, content))
    shards = _opened(where, held)
    lacking = [number for number in range(shards.count) if not shards.path(number).exists()]
    if lacking:
        raise ValueError(
            f"read(folder={str(where)!r}): {len(lacking)} of {shards.count} shards are missing. "
            "Complete it with fill."
        )
    _check_examples("read", shards, inputs)
    return content.rows(shards)


def _checked(caller: str, folder: Any, inputs: PyTree, content: Any) -> tuple[pathlib.Path, int]:
    """The folder and the number of examples, after checks that read nothing."""
    check_path(caller, "folder", folder)
    check_arrays(caller, "inputs", inputs)
    check_concrete(caller, inputs=inputs)
    n = count_of(caller, "inputs", inputs)
    check_fits(caller, inputs=inputs)
    check_kind(caller, "content", content, Content, "For example teacher_cache.whole().")
    path = pathlib.Path(folder)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{caller}(folder={str(path)!r}) is a file. Choose a folder.")
    return path, n


def _begun(
    folder: pathlib.Path, held: dict[str, Any], own: dict[str, Any], inputs: PyTree
) -> Shards:
    """The shards of a new cache, or of one that holds the same so far."""
    folder.mkdir(parents=True, exist_ok=True)
    if held:
        manifest.check("fill", folder, held, own)
    elif any(not path.name.startswith(PART) for path in folder.iterdir()):
        raise ValueError(
            f"fill(folder={str(folder)!r}) holds other files and no cache. Choose a folder of its "
            "own."
        )
    else:
        manifest.save(folder, own)
    remove_parts(folder)
    shards = _opened(folder, own)
    _check_examples("fill", shards, inputs)
    return shards


def _opened(folder: pathlib.Path, held: dict[str, Any]) -> Shards:
    shape = tuple(held["shape of the outputs"])
    return Shards(folder, held["number of examples"], held["examples in a shard"], shape)


def _check_examples(caller: str, shards: Shards, inputs: PyTree) -> None:
    """Raises unless the outputs that are there were made of these examples in turn."""
    for number in range(shards.count):
        if not shards.path(number).exists():
            continue
        for file in shards.path(number).glob("*.npy"):
            shards.array(number, file.stem)  # is it whole?
        begin, end = shards.extent(number)
        made_of, given = shards.array(number, "examples"), manifest.digests(inputs, begin, end)
        differs = np.any(made_of != given, axis=1)
        if differs.any():
            raise ValueError(
                f"{caller}(folder={str(shards.folder)!r}): this cache is of other data, or of the "
                f"same in another order: example {begin + differs.argmax()} of the inputs is not "
                "the one that its outputs were made of. Choose another folder, or remove it."
            )
