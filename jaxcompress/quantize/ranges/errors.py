"""Ranges that make the error of rounding small: squared, of any power, or by kind."""

import jax.numpy as jnp

from jaxcompress.core.checks import check_positive
from jaxcompress.core.observers import Observer
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize.ranges.estimator import Axis, check_format
from jaxcompress.quantize.ranges.searches import least_loss


def mean_squared_error(spec: QuantSpec | None, axis: Axis = None) -> Observer:
    """Searches for the range whose rounding has the least squared error.

    Not for: weights in 8 bits without outliers, where little is to be won over
    `min_max`, which searches nothing.

    A smaller range clips what lies outside and rounds the rest more finely. At 4 bits
    and fewer that pays for nearly every weight; at 8 for data with outliers.
    Also known as: MSE range, clip search, OMSE.

        range = argmin over f of Σ (rounded(x; f · range of x) - x)²,
        f = 1, 0.99, …, 0.01

    With a zero point both ends shrink together first, then the upper one and the lower
    one alone. One array, as a block of a weight, is searched by its own rounding of
    codes and scales, save that scales of two levels count as exact: there the error is
    never above that of `min_max`. Data over batches are counted in bins of 0.8 % (with
    `axis` 6 %) of a number, 2**31 - 1 numbers each, and the counts are searched; they
    merge exactly.

    Args:
      spec: the format whose rounding errs; never None.
      axis: the axes whose entries share a range; None for all of them.

    Returns:
      Observer whose reading is a `Range` of float32, of size 1 along `axis`, of
      shape () without one.

    Raises:
      TypeError: `spec` is no format.

    Example:
      >>> x = jnp.append(jnp.full(15, 0.3), -1.0)
      >>> int2 = jc.quantize.formats.int2()
      >>> observer = jc.quantize.ranges.mean_squared_error(int2)
      >>> round(float(observer.read(observer.alone(x)).high), 2)
      0.34

    Source: Choukroun et al. 2019, arXiv:1902.06822, section 3. Differs: a hundred
    copies are tried instead of a golden-section search, by the real rounding.
    """
    known = check_format("mean_squared_error", spec, axis)
    return least_loss(known, axis, lambda error, clipped: error * error)


def p_norm(spec: QuantSpec | None, axis: Axis = None, *, power: float = 2.4) -> Observer:
    """Searches for the range whose rounding has the least sum of |error|**power.

    Not for: the least squared error, for which `mean_squared_error` clips more.

    Above 2 large errors, those of clipped numbers, count for more than in
    `mean_squared_error`, which is the power 2; all else is as there.
    Also known as: Lp norm, the range search of GPTQ's code.

    Args:
      spec: the format whose rounding errs; never None.
      axis: the axes whose entries share a range; None for all of them.
      power: above 0.

    Returns:
      Observer whose reading is a `Range`, as of `mean_squared_error`.

    Raises:
      TypeError: `spec` is no format.
      ValueError: `power` is not above 0.

    Example:
      >>> x = jnp.append(jnp.full(15, 0.3), -1.0)
      >>> observer = jc.quantize.ranges.p_norm(jc.quantize.formats.int2())
      >>> round(float(observer.read(observer.alone(x)).high), 2)
      0.39

    Source: Nahshan et al. 2019, arXiv:1911.07190, section 3.1.
    """
    known = check_format("p_norm", spec, axis)
    check_positive("p_norm", "power", power)
    return least_loss(known, axis, lambda error, clipped: jnp.abs(error) ** power)


def signal_to_noise(
    spec: QuantSpec | None, axis: Axis = None, *, clipping: float = 3.0
) -> Observer:
    """Searches for the range of the best signal to noise, clipping noise weighing more.

    Not for: the plain ratio, in which clipped numbers count as all others do:
    `mean_squared_error` has the best.

        maximise Σ x² / (Σ of numbers inside error² + clipping · Σ of others error²)

    The signal is the same for every range of a block, so at `clipping` 1 this is
    `mean_squared_error`, and the two share their search. They differ by the weight:
    what is clipped is lost at once for the numbers that stand out.
    Also known as: SQNR range setting, TF-enhanced.

    Args:
      spec: the format whose rounding errs; never None.
      axis: the axes whose entries share a range; None for all of them.
      clipping: weight of the squared error of numbers outside the range, above 0.

    Returns:
      Observer whose reading is a `Range`, as of `mean_squared_error`.

    Raises:
      TypeError: `spec` is no format.
      ValueError: `clipping` is not above 0.

    Example:
      >>> x = jnp.append(jnp.full(15, 0.3), -1.0)
      >>> observer = jc.quantize.ranges.signal_to_noise(jc.quantize.formats.int2())
      >>> round(float(observer.read(observer.alone(x)).high), 2)
      0.42

    Source: Siddegowda et al. 2022, arXiv:2201.08442, section 4.4 (the weight of its
    code is 3).
    """
    known = check_format("signal_to_noise", spec, axis)
    check_positive("signal_to_noise", "clipping", clipping)

    def loss(error, clipped):
        return error * error * jnp.where(clipped, clipping, 1.0)

    return least_loss(known, axis, loss)
