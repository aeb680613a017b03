"""What counts as equal: functions that bring examples into one form before hashing.

Each takes an array (n, ...) and gives one; where two sets have one form, equal examples
have equal bytes. Any function of this kind may be passed.
"""

import unicodedata
from collections.abc import Callable

import numpy as np

from jaxcompress.core.checks import check_positive
from jaxcompress.core.kinds import check_kind

Canonical = Callable[[np.ndarray], np.ndarray]
"""An array (n, ...) to an array (n, ...) whose bytes decide what is equal."""


def stored(array: np.ndarray) -> np.ndarray:
    """The array as it is: examples are equal when their bytes are.

    So NaN equals NaN of the same bits, and 0.0 differs from -0.0. A text equals its
    UTF-8 bytes. Sets of two dtypes or shapes cannot be compared and are refused.

    Args:
      array: (n, ...), of any dtype.

    Returns:
      The same array.

    Example:
      >>> jc.validate.leakage.stored(np.float32([0.0, -0.0]))
      array([ 0., -0.], dtype=float32)
    """
    _check_array("stored", array)
    return array


def by_value(array: np.ndarray) -> np.ndarray:
    """The numbers as float64, so that equal numbers of any dtype are equal.

    0.0 and -0.0 are equal, every NaN equals every other. Integers above 2^53 are
    rounded.

    Args:
      array: (n, ...), real numbers or bools.

    Returns:
      float64 (n, ...).

    Raises:
      TypeError: the array holds no real numbers.

    Example:
      >>> jc.validate.leakage.by_value(np.int8([1, 2]))
      array([1., 2.])
    """
    _check_real("by_value", array)
    values = array.astype(np.float64) + 0.0  # -0.0 + 0.0 is 0.0
    return np.where(np.isnan(values), np.nan, values)


def rounded(step: float) -> Canonical:
    """Numbers rounded to multiples of `step`, as float64; NaN equals NaN.

        level = round(x / step), halves to even

    Two numbers nearer than `step` may still lie on two sides of a boundary: it finds
    copies stored in fewer digits, not noise.

    Args:
      step: above 0, in the unit of the numbers.

    Returns:
      A canonical form.

    Raises:
      ValueError: the step is no number above 0.

    Example:
      >>> jc.validate.leakage.rounded(0.1)(np.float32([0.31, 0.299]))
      array([3., 3.])
    """
    check_positive("rounded", "step", step)

    def levels(array: np.ndarray) -> np.ndarray:
        return by_value(np.rint(by_value(array) / step))

    levels.__name__ = f"rounded({step:g})"
    return levels


def pixels(array: np.ndarray) -> np.ndarray:
    """Images of 256 levels: uint8 as they are, floats in [0, 1] times 255.

    So a set stored as uint8 is compared with one scaled by 1/255 in float32 or float16;
    bfloat16 has too few bits to tell all levels apart. Images that were standardised
    need their own function that undoes it.

    Args:
      array: (n, ...), uint8, or floating in [0, 1].

    Returns:
      uint8 (n, ...).

    Raises:
      TypeError: another dtype.
      ValueError: floats outside of [0, 1], NaN among them.

    Example:
      >>> jc.validate.leakage.pixels(np.float32([0, 7 / 255, 1]))
      array([  0,   7, 255], dtype=uint8)
    """
    _check_array("pixels", array)
    if array.dtype == np.uint8:
        return array
    _check_real("pixels", array)
    if np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_:
        raise TypeError(f"pixels(array of dtype {array.dtype}) must be uint8, or floating.")
    values = array.astype(np.float32)
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError(
            "pixels(array) must lie in [0, 1] where it is floating. Undo the standardisation first:"
            " canonical=lambda x: pixels(x * std + mean)."
        )
    return np.rint(255 * values).astype(np.uint8)


def words(array: np.ndarray) -> np.ndarray:
    r"""Texts without differences of case, spaces and forms of characters.

    Compatibility forms are made one (NFKC), case is folded, runs of white space become
    one space; bytes are read as UTF-8.

    Args:
      array: (n,) texts, each a str or bytes.

    Returns:
      (n,) of str.

    Raises:
      TypeError: the array holds no texts.

    Example:
      >>> jc.validate.leakage.words(np.array(["To be,  or\nNOT to be"]))
      array(['to be, or not to be'], dtype=object)
    """
    _check_array("words", array)
    if array.dtype.kind not in "OUS":
        raise TypeError(f"words(array of dtype {array.dtype}) must hold texts, str or bytes.")
    result = np.empty(array.shape, object)
    for index, text in np.ndenumerate(array):
        text = text.decode(errors="replace") if isinstance(text, bytes) else text
        result[index] = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return result


def _check_array(caller: str, array: object) -> None:
    check_kind(caller, "array", array, np.ndarray, "It is the examples, as NumPy has them.")


def _check_real(caller: str, array: np.ndarray) -> None:
    _check_array(caller, array)
    if array.dtype.kind in "OUSMmc":
        raise TypeError(f"{caller}(array of dtype {array.dtype}) must hold real numbers.")
