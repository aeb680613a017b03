"""What was removed from a model before its params were saved."""

import os
from typing import Any

from jaxcompress.core.checks import check_count
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.storage.container import archive
from jaxcompress.storage.container.limits import MAX_BYTES


def load_removal(
    path: str | os.PathLike[Any], *, max_bytes: int = MAX_BYTES
) -> tuple[Removal, ...]:
    """What was removed from the model whose params a file holds; no leaf is read.

    Args:
      path: the file, or the index of several.
      max_bytes: what its header may take in memory, as `load` counts; default 16 GiB.

    Returns:
      The removals given to `save`, in order, for `structure.replay`; empty where there
      were none.

    Raises:
      FileError: the header is truncated or altered, or the file is foreign, of a later
        format, or takes more than `max_bytes`.
      TypeError: `path` is no path.
      OSError: there is no such file.

    Example:
      >>> import tempfile
      >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(4), "out": jnp.array([[1.0], [4.0], [3.0], [2.0]])}
      >>> x, half = jnp.ones((1, 4)), jc.structure.amounts.fraction(0.5)
      >>> importance = jc.structure.importance.magnitude()
      >>> small = jc.structure.remove(fn, params, importance, x, cut=half)
      >>> shapes = jax.eval_shape(lambda: params)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = f"{folder}/small.safetensors"
      ...     size_bytes = jc.storage.save(path, small.params, removal=small.removal)
      ...     removal = jc.storage.load_removal(path)
      ...     again = jc.structure.replay(fn, shapes, x, removal=removal)
      ...     again.fn(jc.storage.load(path, like=again.params), x)
      Array([[7.]], dtype=float32)
    """
    check_count("load_removal", "max_bytes", max_bytes)
    with archive.opened("load_removal", path, max_bytes) as found:
        return found.removals
