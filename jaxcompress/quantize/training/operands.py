"""One operand of a product as codes: a format, a scaling and a way to round."""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from jaxcompress.core.formats.floats import Floats
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.sharing import Tensor
from jaxcompress.core.kinds import check_key, check_kind
from jaxcompress.core.noise import own_key
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Key
from jaxcompress.kernels.operands import check_floats
from jaxcompress.quantize.training.scaling import Scaling, scale_of

Levels = Integers | Floats

OperandRounding = Callable[[Array, Levels, Key | None], Array]
"""(numbers in steps, levels, key) -> levels in steps, as `round_nearest`."""


def round_nearest(x: Array, levels: Levels, key: Key | None) -> Array:
    """Rounds numbers to the nearest level, as hardware does: ties to the even code.

    Args:
      x: (…) float32, in steps; what lies beyond the levels gets the last one.
      levels: whole numbers around zero, or small floats.
      key: not read.

    Returns:
      (…) float32, levels.

    Raises:
      TypeError: an argument is of another kind.

    Example:
      >>> levels = jc.quantize.formats.fp8_e4m3().levels
      >>> x = jnp.array([0.3, 17.0, 500.0])
      >>> jc.quantize.training.round_nearest(x, levels, None).tolist()
      [0.3125, 16.0, 448.0]
    """
    del key
    _check("round_nearest", x, levels)
    return levels.value(jnp.clip(levels.nearest(x), levels.lowest, levels.highest))


def round_stochastic(x: Array, levels: Levels, key: Key | None) -> Array:
    """Rounds numbers to one of the two levels beside them, right in the mean.

        P(upper level) = (x - lower) / (upper - lower),   so E[rounded x] = x

    Of gradients, whose errors add up over many steps, nearest rounding loses what is
    small against its row; this keeps it in the mean. The noise comes from the key and
    from a hash of the numbers: turns of a loop do not share it, and numbers that differ
    in a last bit, as on other devices, draw other noise.

    Args:
      x: (…) float32, in steps; what lies beyond the levels gets the last one.
      levels: whole numbers around zero, or small floats.
      key: random key of the step.

    Returns:
      (…) float32, levels.

    Raises:
      TypeError: an argument is of another kind.

    Example:
      >>> levels, key = jc.quantize.int8().levels, jax.random.key(0)
      >>> x = jnp.full(1000, 2.25)
      >>> rounded = jc.quantize.training.round_stochastic(x, levels, key)
      >>> sorted(set(rounded.tolist())), float(rounded.mean())
      ([2.0, 3.0], 2.25)

    Source: Gupta et al. 2015, arXiv:1502.02551, section 3.
    """
    _check("round_stochastic", x, levels)
    check_key("round_stochastic", "key", key)
    place = jnp.clip(levels.position(x), levels.lowest, levels.highest)
    below = jnp.floor(place)
    chance = jax.random.uniform(own_key(cast(Key, key), x), x.shape, jnp.float32)
    return levels.value(below + (chance < place - below).astype(jnp.float32))


def _check(caller: str, x: Array, levels: Levels) -> None:
    check_floats(caller, ndim=None, x=x)
    check_kind(caller, "levels", levels, Levels, "Take those of a format, int8().levels.")


class Operand(NamedTuple):
    """How one operand becomes codes; a static value.

    Attributes:
      spec: the levels, and whether rows share a scale.
      scaling: where the scale comes from.
      rounding: `round_nearest` or `round_stochastic`.
    """

    spec: QuantSpec
    scaling: Scaling
    rounding: OperandRounding

    @property
    def levels(self) -> Levels:
        return cast(Levels, self.spec.levels)  # `precision` takes no others

    def rows(self, x: Array, known: Array, key: Key | None) -> "Rounded":
        """Rounds (…, rows, K) along K, or as a whole."""
        whole = isinstance(self.spec.sharing, Tensor)
        return self._rounded(x, (-2, -1) if whole else (-1,), known, key)

    def whole(self, x: Array, known: Array, key: Key | None) -> "Rounded":
        """Rounds an array of any shape under one scale, ()."""
        found = self._rounded(x, None, known, key)
        return found._replace(scale=found.scale.reshape(()))

    def _rounded(self, x: Array, axis, known: Array, key: Key | None) -> "Rounded":
        x = x.astype(jnp.float32)
        finite = jnp.isfinite(x)
        x = jnp.where(finite, x, 0.0)
        scale = scale_of(x, self.scaling, known, axis, self.levels.ends[1])
        values = self.rounding(x / scale, self.levels, key)
        return Rounded(jnp.where(finite, values, jnp.nan), scale)


class Rounded(NamedTuple):
    """An operand in low-bit numbers.

    Attributes:
      values: float32 levels in steps; NaN where the operand was not finite.
      scale: float32 that broadcasts to them.
    """

    values: Array
    scale: Array
