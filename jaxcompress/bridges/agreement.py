"""Whether a framework's module computes what the shrunk program does.

A module derives anew what the program keeps as it was: a norm's divisor, 1/sqrt of the
size of a head. So both run on the user's batch.
"""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.bridges.sizes import SizeReport
from jaxcompress.core.checks import check_concrete
from jaxcompress.core.leaf import materialize
from jaxcompress.core.messages import shown
from jaxcompress.core.names import named_leaves
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.surgery.check import checked_difference, difference
from jaxcompress.graph.surgery.removal import Removal

PROGRAM = "Use the program, removed.fn, with removed.params."


class Smaller(Protocol):
    """Result of a removal: a smaller program, its params, and what was removed."""

    @property
    def fn(self) -> Model: ...
    @property
    def params(self) -> Params: ...
    @property
    def removal(self) -> Removal: ...


class Shrunk(NamedTuple):
    """A framework's module without what was removed.

    Attributes:
      module: the module.
      sizes: the fields that were changed.
      difference: largest difference of its outputs on the batch to those of the shrunk
        program, relative to the largest output.
    """

    module: Any
    sizes: SizeReport
    difference: float


def check_smaller(caller: str, removed: Any, inputs: tuple[Any, ...]) -> None:
    """Raises a TypeError unless it is one removal's result, and inputs are arrays."""
    if not all(hasattr(removed, part) for part in ("fn", "params", "removal")):
        raise TypeError(
            f"{caller}(removed={shown(removed)}) must be what a verb of structure gave, for "
            "example structure.remove."
        )
    if not isinstance(removed.removal, Removal):
        raise TypeError(
            f"{caller}(removed=...) is of {len(removed.removal)} removals one after the other, and "
            "a module is made after a single one. Make the module after each."
        )
    check_arrays(caller, "inputs", inputs)


def agreement(
    caller: str, fn: Model, removed: Smaller, inputs: tuple[Any, ...], mend: str
) -> float:
    """The relative difference of a module's outputs to those of the shrunk program.

    Both compute in float32 at least, as far as the module lets its arrays decide: the
    wider, the less rounding hides.

    Raises:
      ValueError: the module does not run, or gives outputs of other shapes.
      ArithmeticError: the difference is larger than rounding explains.
    """
    check_concrete(caller, params=removed.params, inputs=inputs)
    params, inputs = _wide(materialize(removed.params)), _wide(inputs)
    expected = jax.jit(removed.fn)(params, *inputs)
    try:
        outputs = jax.jit(fn)(params, *inputs)
    except Exception as error:
        raise ValueError(
            f"{caller}: the module does not run with the smaller params: {error}\n{mend}{PROGRAM}"
        ) from error
    if _shapes(outputs) != _shapes(expected):
        raise ValueError(
            f"{caller}: the module's outputs are {_shapes(outputs)}, those of the program "
            f"{_shapes(expected)}. {mend}{PROGRAM}"
        )
    try:
        _check_integers(outputs, expected)
        return checked_difference(caller, outputs, expected)
    except ArithmeticError:
        raise ArithmeticError(
            f"{caller}: on this batch the module differs by {difference(outputs, expected):.1e} "
            "of the largest output from the shrunk program. A module derives anew what the "
            "program keeps, such as a norm's divisor or 1/sqrt of the size of a head. Use the "
            "program, removed.fn, with removed.params, or remove other units."
        ) from None


def check_shapes(caller: str, found: Params, params: Params) -> None:
    """Raises unless a module's leaves have the shapes of the smaller params.

    Raises:
      ValueError: a leaf is missing, left over or of another shape.
    """
    found, wanted = named_leaves(found), named_leaves(params)
    for name in sorted(wanted.keys() ^ found.keys()):
        owner, other = ("module", "params") if name in found else ("params", "module")
        raise ValueError(f"{caller}: leaf {name!r} of the {owner} is not in the {other}.")
    for name in wanted:
        if found[name].shape != wanted[name].shape:
            raise ValueError(
                f"{caller}: leaf {name!r} has shape {tuple(found[name].shape)} in the module and "
                f"{tuple(wanted[name].shape)} in the params."
            )


def misfit_count(found: Params, params: Params) -> int:
    """How many shapes of leaves are in one tree alone."""
    one, other = (
        {(name, tuple(leaf.shape)) for name, leaf in named_leaves(tree).items()}
        for tree in (found, params)
    )
    return len(one ^ other)


def _wide(tree: PyTree) -> PyTree:
    def wide(leaf):
        dtype = jnp.result_type(leaf)
        narrow = jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32
        return leaf.astype(jnp.float32) if narrow else leaf

    return jax.tree.map(wide, tree)


def _shapes(outputs: PyTree) -> list[str]:
    return [f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(outputs)]


def _check_integers(outputs: PyTree, expected: PyTree) -> None:
    for one, other in zip(jax.tree.leaves(outputs), jax.tree.leaves(expected), strict=True):
        if not jnp.issubdtype(one.dtype, jnp.floating) and not np.array_equal(one, other):
            raise ArithmeticError
