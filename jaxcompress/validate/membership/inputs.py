"""Checks of signals, scores and members that every attack and audit shares.

Attacks are computed by NumPy in float64: signals of overfitted models differ far behind
the point, and what costs time are the models.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxcompress.core.messages import shown
from jaxcompress.validate import arrays

_OVERFLOW = "Leave that example out, or look for an overflow in the model."


def real(caller: str, argument: str, value: ArrayLike, *shapes: str) -> np.ndarray:
    """The values as float64; raises unless they are finite and of one of the shapes.

    Example:
      >>> real("audit", "scores", [1.0, float("nan")], "(n,)")
      Traceback (most recent call last):
      ValueError: audit(scores): 1 of 2 values are not finite, the first is scores[1] =
      nan. Leave that example out, or look for an overflow in the model.
    """
    values = _shaped(caller, argument, arrays.real(caller, argument, value), *shapes)
    arrays.check_all_finite(caller, argument, values, _OVERFLOW)
    return values


def flags(caller: str, argument: str, value: ArrayLike, *shapes: str) -> np.ndarray:
    """The values as bool; raises a TypeError where they are of another dtype."""
    values = _shaped(caller, argument, arrays.known(caller, argument, value), *shapes)
    if values.dtype != np.bool_:
        raise TypeError(f"{caller}({argument} of dtype {values.dtype}) must be bool.")
    return values


def both_sides(caller: str, members: np.ndarray) -> None:
    """Raises a ValueError unless each row of `members` (…, n) has both of its sides."""
    counts = members.sum(-1)
    if np.any(counts == 0) or np.any(counts == members.shape[-1]):
        which = "members" if np.any(counts == 0) else "non-members"
        raise ValueError(
            f"{caller}(members) holds no {which} among {members.shape[-1]} examples. An attack is"
            " judged on examples that the model was trained on and others that it never saw."
        )


def same_length(caller: str, **sizes: int) -> None:
    """Raises a ValueError unless all the sizes, by argument, are one."""
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{argument} of {size}" for argument, size in sizes.items())
        raise ValueError(f"{caller}({said} examples): all need the same, in one order.")


def with_shadows(
    caller: str, target: ArrayLike, signals: ArrayLike, members: ArrayLike, *rest: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signals of a target and of shadow models, which fit together.

    Args:
      caller: the name that errors give.
      target: (n, …).
      signals: (shadows, n, …).
      members: (shadows, n) bool.
      *rest: the axes that signals may have behind the examples': "", ", k".

    Returns:
      The three as arrays of float64, float64 and bool.
    """
    rest = rest or ("",)
    target = real(caller, "target", target, *(f"(n{axes or ','})" for axes in rest))
    signals = real(caller, "signals", signals, *(f"(shadows, n{axes})" for axes in rest))
    members = flags(caller, "members", members, "(shadows, n)")
    same_length(caller, target=len(target), signals=signals.shape[1], members=members.shape[1])
    if len(signals) != len(members) or signals.shape[1:] != target.shape:
        raise ValueError(
            f"{caller}(target {target.shape}, signals {signals.shape}, members {members.shape}):"
            " signals need one row per row of members, each of the target's shape."
        )
    return target, signals, members


def enough_out(caller: str, members: np.ndarray, least: int = 1) -> None:
    """Raises a ValueError unless enough shadows were trained without each example."""
    _enough(caller, (~members).sum(0), "without", least, len(members))


def enough_in(caller: str, members: np.ndarray, least: int = 1) -> None:
    """Raises a ValueError unless enough shadows were trained on each example."""
    _enough(caller, members.sum(0), "on", least, len(members))


def _enough(caller: str, counts: np.ndarray, how: str, least: int, shadows: int) -> None:
    few = np.flatnonzero(counts < least)
    if few.size:
        raise ValueError(
            f"{caller}(members): {few.size} of {counts.size} examples, the first is {few[0]}, have"
            f" {counts[few[0]]} of {shadows} shadow models trained {how} them, and {least} is the"
            f" least. Train more shadows with members from halves, or leave those examples out."
        )


def _shaped(caller: str, argument: str, values: np.ndarray, *shapes: str) -> np.ndarray:
    ranks = [shape.count(",") + (not shape.endswith(",)")) for shape in shapes]
    if values.ndim not in ranks or not values.size:
        raise ValueError(
            f"{caller}({argument}={shown(values)} of shape {values.shape}) needs the shape"
            f" {' or '.join(shapes)}, with at least one entry."
        )
    return values
