"""Digests of examples: 16 bytes each, equal where the examples are."""

from typing import Any

import jax
import numpy as np

from jaxcompress.core.digests import row_digests
from jaxcompress.core.kinds import check_function
from jaxcompress.core.types import PyTree
from jaxcompress.validate.leakage.blocks import blocks
from jaxcompress.validate.leakage.canonical import Canonical, stored


def fingerprints(examples: Any, *, canonical: Canonical = stored) -> np.ndarray:
    """BLAKE2b digests of 16 bytes, one per example, equal where the examples are.

    A digest depends on the bytes alone, not on the machine or on Python's hash seed.
    Examples of several arrays are hashed over all of them, in the order of the tree.

    Args:
      examples: array (n, ...), list of texts, or a tuple or dict of these; or an
        iterable of chunks of such, or a function without arguments that gives one.
      canonical: what counts as equal, such as `by_value` or `pixels`; by default equal
        bytes.

    Returns:
      uint8 (n, 16).

    Raises:
      TypeError: the examples hold Python objects, or are neither arrays nor texts.
      ValueError: there are none, or arrays disagree on their number.

    Example:
      >>> digests = jc.validate.leakage.fingerprints(np.array([[1, 2], [3, 4], [1, 2]]))
      >>> digests.shape, bool((digests[0] == digests[2]).all())
      ((3, 16), True)

    Source: BLAKE2, RFC 7693, from Python's `hashlib`.
    """
    check_function("fingerprints", "canonical", canonical, "For example by_value.")
    found = [
        digests(each.examples, canonical) for each in blocks("fingerprints", "examples", examples)
    ]
    if not found:
        raise ValueError("fingerprints(examples) holds no examples.")
    return np.concatenate(found)


def digests(tree: PyTree, canonical: Canonical) -> np.ndarray:
    """Digests (n, 16) uint8 of the examples of a tree in memory."""
    return row_digests([canonical(leaf) for leaf in jax.tree.leaves(tree)])


def form(tree: PyTree, canonical: Canonical) -> str:
    """Dtypes and shapes of one example in canonical form; two forms never compare."""
    leaves, structure = jax.tree.flatten(jax.tree.map(canonical, tree))
    described = [
        f"{'text' if leaf.dtype.hasobject else leaf.dtype} {list(leaf.shape[1:])}"
        for leaf in leaves
    ]
    return described[0] if len(leaves) == 1 else f"{structure} of {', '.join(described)}"
