"""Which formats, scales and roundings the products of a layer have in training."""

from jaxcompress.core.formats.floats import Floats
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.scales import Float32
from jaxcompress.core.formats.sharing import Channel, Tensor
from jaxcompress.core.kinds import check_kind, check_takes
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize.formats.integers import int8
from jaxcompress.quantize.training.coded_products import Precision
from jaxcompress.quantize.training.operands import Operand, OperandRounding, round_nearest
from jaxcompress.quantize.training.scaling import Scaling, dynamic_scaling

INT8 = int8()


def precision(
    forward: QuantSpec = INT8,
    backward: QuantSpec = INT8,
    *,
    scaling: Scaling = dynamic_scaling(),
    gradients: OperandRounding = round_nearest,
) -> Precision:
    """Says how the operands of a layer's products become codes, for `low_precision`.

    Args:
      forward: format of data and weights, in the forward product and where they meet
        gradients: whole numbers around zero of up to 8 bits, or floats, one scale per
        channel or per tensor, in float32. Per channel is here per row: of what a
        product does not sum over.
      backward: format of gradients, the same.
      scaling: `dynamic_scaling()`; or `delayed_scaling(...)`, which takes formats per
        tensor.
      gradients: how gradients are rounded, `round_nearest` or `round_stochastic`.

    Returns:
      Precision.

    Raises:
      TypeError: a format is no QuantSpec, or another argument of another kind.
      ValueError: a format cannot be multiplied or shares scales otherwise, or is per
        channel where scaling is delayed.

    Example:
      >>> fp8 = jc.quantize.training.precision(
      ...     jc.quantize.formats.fp8_e4m3(per="tensor"),
      ...     jc.quantize.formats.fp8_e5m2(per="tensor"),
      ...     scaling=jc.quantize.training.delayed_scaling(),
      ... )
      >>> str(fp8.first.spec), str(fp8.gradient.spec)
      ('fp8_e4m3 per tensor', 'fp8_e5m2 per tensor')
    """
    check_kind(
        "precision",
        "scaling",
        scaling,
        Scaling,
        "Call training.dynamic_scaling or delayed_scaling.",
    )
    check_takes(
        "precision", "gradients", gradients, 3, "Pass training.round_nearest or round_stochastic."
    )
    for argument, spec in (("forward", forward), ("backward", backward)):
        _check_spec(argument, spec, scaling)
    met = Operand(forward, scaling, round_nearest)
    return Precision(met, met, Operand(backward, scaling, gradients))


def _check_spec(argument: str, spec: QuantSpec, scaling: Scaling) -> None:
    check_kind("precision", argument, spec, QuantSpec, "Call a format, as int8().")
    given = f"precision({argument}={spec})"
    if not (isinstance(spec.levels, Integers | Floats) and spec.symmetric):
        raise ValueError(
            f"{given} must have whole numbers around zero or small floats for levels, as int8() "
            "or formats.fp8_e4m3()."
        )
    if not (isinstance(spec.sharing, Channel | Tensor) and spec.scales == Float32()):
        raise ValueError(f"{given} must have one float32 scale per channel or per tensor.")
    if scaling.history and not isinstance(spec.sharing, Tensor):
        raise ValueError(
            f'{given} must be per="tensor" where scaling is delayed: a history is of one maximum.'
        )
