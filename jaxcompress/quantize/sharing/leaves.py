"""Leaves with codebooks: which are chosen, how they are cut, levels put in."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxcompress.core.axes import to_canonical
from jaxcompress.core.companions import Companions
from jaxcompress.core.formats.codebooks import Codebook
from jaxcompress.core.formats.cuts import Cut, as_before, cut, in_blocks
from jaxcompress.core.formats.grids import Grid, stored
from jaxcompress.core.names import named_leaves
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Params
from jaxcompress.quantize.assignment import Assignment, Choice


@dataclasses.dataclass(frozen=True)
class Selection(Choice):
    """Which leaves get which codebook: a choice whose formats store their levels."""

    def assigned(self, params: Params) -> dict[str, Assignment]:
        """The assignment of each leaf that gets a codebook, by name.

        Raises:
          ValueError: as `quantize`; or a format stores no levels.
        """
        chosen = super().assigned(params)
        for each in chosen.values():
            check_codebook(self.caller, each.spec)
        return chosen


def check_codebook(caller: str, spec: QuantSpec) -> None:
    """Raises a ValueError unless leaves of a format store their levels.

    Example:
      >>> check_codebook("k_means", jc.quantize.int4())
      Traceback (most recent call last):
      ValueError: k_means: int4 per channel stores no levels of its own. Give it a
      format as formats.codebook(4, per='tensor').
    """
    if not isinstance(spec.levels, Codebook):
        raise ValueError(
            f"{caller}: {spec} stores no levels of its own. Give it a format as "
            "formats.codebook(4, per='tensor')."
        )


def in_cut(x: Array, choice: Assignment) -> tuple[Array, Cut]:
    """An array in the shape of its cut, float32, and the cut."""
    parts = cut(x.shape, choice.spec.sharing, choice.axes)
    return in_blocks(jnp.asarray(x).astype(jnp.float32), parts), parts


def check_levels(
    caller: str, params: Params, levels: Companions, assigned: dict[str, Assignment]
) -> None:
    """Raises a ValueError unless levels are those of leaves that get a codebook."""
    leaves = named_leaves(params)
    for name, own in levels.items():
        if name not in assigned:
            raise ValueError(
                f"{caller}(companions=...): leaf {name!r} gets no codebook. Begin with "
                "init(params), with the same select."
            )
        spec, axes = assigned[name]
        parts = cut(tuple(leaves[name].shape), spec.sharing, axes)
        expected = (*block_sizes(parts), spec.levels.highest)
        if jnp.shape(own) != expected:
            raise ValueError(
                f"{caller}(companions=...): the levels of leaf {name!r} have shape "
                f"{jnp.shape(own)}, and must have {expected}. Begin with init(params)."
            )


def block_sizes(parts: Cut) -> tuple[int, ...]:
    """The sizes of what blocks have one of: those of the cut, 1 along shared axes."""
    return tuple(1 if axis in parts.shared else size for axis, size in enumerate(parts.shape))


def grid_with(levels: Array, parts: Cut, spec: QuantSpec) -> Grid:
    """The grid whose scales are 1 and whose levels, beside zero, are these.

    Args:
      levels: (blocks…, 2**bits - 1) of the sizes of `block_sizes`, in the unit of the
        weights.
      parts: the cut.
      spec: a format with a codebook.
    """
    on = Grid(*spec.scales.write(jnp.ones(block_sizes(parts), jnp.float32), parts))
    return on._replace(codebook=with_zero(levels / on.steps(spec)[..., None]))


def with_zero(levels: Array) -> Array:
    """Levels with the one of code 0 in front, which is 0."""
    return jnp.pad(levels, [(0, 0)] * (levels.ndim - 1) + [(1, 0)])


def stored_leaf(x: Array, codes: Array, on: Grid, parts: Cut, choice: Assignment) -> QTensor:
    """The leaf of the codes of an array that was cut.

    Args:
      x: the array.
      codes: its codes in the shape of the cut.
      on: the grid of the cut.
      parts: the cut.
      choice: the format and the axes.
    """
    spec, axes = choice
    codes = to_canonical(as_before(codes.astype(jnp.int32), x), axes)
    on = stored(on, parts, axes)
    return QTensor.from_rounded(codes, on, spec=spec, dtype=x.dtype, axes=axes)


@jax.custom_jvp
def through_both(value: Array, x: Array) -> Array:
    """Gives `value` its own gradient and that of `x` besides, straight through.

    Example:
      >>> seen = lambda level, x: through_both(3 * level, x)
      >>> by_both = jax.grad(seen, (0, 1))(jnp.float32(0.5), jnp.float32(0.4))
      >>> [float(each) for each in by_both]
      [3.0, 1.0]
    """
    del x
    return value


@through_both.defjvp
def _through_both_jvp(primals, tangents):
    value, x = primals
    by_value, by_x = tangents
    return through_both(value, x), by_value + by_x.astype(value.dtype)
