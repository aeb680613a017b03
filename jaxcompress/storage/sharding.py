"""Saving a tree as several files and an index of them."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from jaxcompress.core.checks import check_count
from jaxcompress.core.types import PyTree
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.storage.coders import FAST, Coder
from jaxcompress.storage.container import disk, writing
from jaxcompress.storage.container.index import ENDING
from jaxcompress.storage.container.paths import checked_path
from jaxcompress.storage.container.plan import plan
from jaxcompress.storage.container.safetensors import NO_TEXT

SHARD_BYTES = 5_000_000_000


def save_shards(
    path: str | os.PathLike[Any],
    tree: PyTree,
    *,
    shard_bytes: int = SHARD_BYTES,
    metadata: Mapping[str, str] = NO_TEXT,
    removal: Removal | Iterable[Removal] = (),
    coders: Iterable[Coder] = FAST,
) -> int:
    """Writes a tree as safetensors files of limited size, and one index of them.

    Not for: trees that one file may hold; `save` writes one.

    Also known as: sharded checkpoint. `load`, `load_leaf`, `open` and `describe` take
    the path of the index, and refuse any other file in a shard's place. Each shard is
    also a file of its own, and readers that know the index of Hugging Face's libraries
    find each array.

    No file has its name before all are complete, and the index, which holds their
    digests, comes last. Where another tree lay there before, a reader gets the old one
    or the new one, or, for the moment in which files are renamed, a `FileError`. Shards
    of the old index that the new one does not name are removed.

    Args:
      path: of the index, `<name>.safetensors.index.json`; the shards lie beside it as
        `<name>-00001-of-00003.safetensors`.
      tree: as `save` takes it.
      shard_bytes: the most bytes of leaves in one file, in the tree's order; a larger
        leaf has a file of its own. A header comes before them.
      metadata: texts to keep in the index.
      removal: as `save` takes it.
      coders: as `save` takes them.

    Returns:
      Bytes on disk, of all files.

    Raises:
      TypeError, OSError: as `save` does.
      ValueError: as `save` does, or `path` ends otherwise.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = f"{folder}/model.safetensors.index.json"
      ...     tree = {"a": jnp.ones(3), "b": jnp.zeros(2), "c": jnp.ones(4)}
      ...     size_bytes = jc.storage.save_shards(path, tree, shard_bytes=20)
      ...     jc.storage.describe(path).files, jc.storage.load(path)["c"]
      (2, Array([1., 1., 1., 1.], dtype=float32))
    """
    name = checked_path("save_shards", path)
    if not os.path.basename(name).endswith(ENDING) or os.path.basename(name) == ENDING:
        raise ValueError(
            f"save_shards(path={name!r}) must end with a name and '{ENDING}', by which other "
            f"readers know an index. Pass 'model{ENDING}' in that folder."
        )
    check_count("save_shards", "shard_bytes", shard_bytes)
    disk.checked_target("save_shards", name)  # before a large tree is planned
    planned = plan("save_shards", tree, metadata, removal, coders)
    return writing.write_shards("save_shards", name, planned, shard_bytes)
