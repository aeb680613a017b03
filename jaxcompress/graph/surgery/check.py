"""Checks a removal on the user's batch: shrunk and zeroed models against the masked."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_concrete
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.surgery.cutting import slice_params, zero_params
from jaxcompress.graph.surgery.removal import Removal, require_removal
from jaxcompress.graph.surgery.shrink import masked_program, shrunk_program
from jaxcompress.graph.surgery.walk import couple


class RemovalCheck(NamedTuple):
    """How far programs are from the masked program, which defines the removal.

    Attributes:
      shrunk: largest difference of the shrunk program's outputs, as a share of the
        largest output; rounding, or the program is wrong.
      zeroed: the same of the model with zeroed weights. Not rounding where zero is not
        neutral (a softmax, a maximum, a two-pass variance): there a score measured
        with zeros misleads.
    """

    shrunk: float
    zeroed: float


def check_removal(fn: Model, params: Params, removed: Removal, *inputs: PyTree) -> RemovalCheck:
    """Runs the masked, the shrunk and the zeroed model on a batch.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: the params before the removal.
      removed: what goes.
      inputs: a batch.

    Returns:
      RemovalCheck.

    Raises:
      ValueError: the removal does not fit the params or the program.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 8)), "out": jnp.ones((8, 2))}
      >>> x = jnp.ones((5, 3))
      >>> removed = jc.graph.couplings(fn, params, x).removal({"in:1": [0, 7]})
      >>> jc.graph.surgery.check_removal(fn, params, removed, x)
      RemovalCheck(shrunk=0.0, zeroed=0.0)
    """
    check_call("check_removal", fn, params, inputs)
    require_removal("check_removal", "removed", removed)
    check_concrete("check_removal", params=params, inputs=inputs)
    coupled = couple(fn, params, *inputs)
    expected = jax.jit(masked_program(coupled, removed))(params, *inputs)
    smaller = shrunk_program("check_removal", coupled, removed)
    small = jax.jit(smaller)(slice_params(params, removed), *inputs)
    zeroed = jax.jit(fn)(zero_params(params, removed), *inputs)
    return RemovalCheck(difference(small, expected), difference(zeroed, expected))


def difference(outputs: PyTree, expected: PyTree) -> float:
    """The largest difference of two trees, as a share of the largest expected entry.

    Arrays that are smaller in one are left out: new params of a training step.
    """
    everything = zip(jax.tree.leaves(outputs), jax.tree.leaves(expected), strict=True)
    pairs = [
        (_on_host(one), _on_host(other))
        for one, other in everything
        if np.shape(one) == np.shape(other)
    ]
    # A difference of infinities is a NaN, one beyond the dtype infinite; both are told.
    with np.errstate(invalid="ignore", over="ignore"):
        worst = _largest([given - wanted for given, wanted in pairs])
    largest = _largest([wanted for _, wanted in pairs])
    return worst / largest if largest else worst


def checked_difference(caller: str, outputs: PyTree, defining: PyTree) -> float:
    """The difference of a smaller program's outputs to those that define the removal.

    Raises:
      ArithmeticError: it is larger than rounding explains.
    """
    found = difference(outputs, defining)
    if not np.isfinite(found) and not _finite(defining):
        raise ArithmeticError(
            f"{caller}: on this batch outputs are not finite, so that the smaller program cannot "
            "be compared. Look for NaN or infinity in the inputs and the params, or for an "
            "overflow in the model."
        )
    if not found <= _half_the_digits(outputs):
        raise ArithmeticError(
            f"{caller}: on this batch the smaller program differs by {found:.1e} of the largest "
            "output from what the removal means. Leave parts out to find which, and report them."
        )
    return found


def _finite(outputs: PyTree) -> bool:
    return all(np.isfinite(_on_host(each)).all() for each in jax.tree.leaves(outputs))


def _half_the_digits(outputs: PyTree) -> float:
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(outputs)]
    digits = [jnp.finfo(dtype).eps for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)]
    return float(max(digits, default=0.0)) ** 0.5


def _largest(arrays: list[np.ndarray]) -> float:
    """The largest magnitude of all entries, NaN where one is."""
    return float(np.max([np.max(np.abs(array), initial=0) for array in arrays], initial=0))


def _on_host(x) -> np.ndarray:
    # With NumPy, since JAX compiles each step of a difference anew for every shape.
    return np.asarray(x, jnp.result_type(x, jnp.float32))
