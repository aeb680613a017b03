"""Arguments as NumPy arrays of known values, as every test of this room needs them."""

from typing import Any

import numpy as np

from jaxcompress.core.checks import check_concrete
from jaxcompress.core.kinds import check_numeric


def known(caller: str, argument: str, values: Any) -> np.ndarray:
    """The values as a NumPy array.

    Raises:
      TypeError: they are no numbers, or traced.

    Example:
      >>> known("wilson", "values", [True, False])
      array([ True, False])
    """
    check_numeric(caller, argument, values)
    check_concrete(caller, "", **{argument: values})
    return np.asarray(values)


def real(caller: str, argument: str, values: Any) -> np.ndarray:
    """The values as a NumPy array of float64, which may hold NaN and infinities.

    Raises:
      TypeError: they are no numbers, complex, or traced.

    Example:
      >>> real("holm", "p", np.array([1j]))
      Traceback (most recent call last):
      TypeError: holm(p of dtype complex128) needs real numbers.
    """
    array = known(caller, argument, values)
    if np.iscomplexobj(array):
        raise TypeError(f"{caller}({argument} of dtype {array.dtype}) needs real numbers.")
    return array.astype(np.float64)


def check_all_finite(caller: str, argument: str, array: np.ndarray, mend: str = "") -> None:
    """Raises a ValueError where a value is NaN or infinite; it names the first one.

    Example:
      >>> check_all_finite("audit", "scores", np.array([[1, np.nan]]), "Leave it out.")
      Traceback (most recent call last):
      ValueError: audit(scores): 1 of 2 values are not finite, the first is
      scores[0, 1] = nan. Leave it out.
    """
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        place = tuple(int(index) for index in bad[0])
        raise ValueError(
            f"{caller}({argument}): {len(bad)} of {array.size} values are not finite, the first is"
            f" {argument}[{', '.join(map(str, place))}] = {array[place]}.{' ' * bool(mend)}{mend}"
        )
