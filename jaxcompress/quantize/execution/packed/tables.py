"""What lies between two sites of signs, as a threshold for each channel.

A site that sums K products of signs gives one of K + 1 whole numbers, or of 2 K + 1
where there are zeros, as in padding. The program's own arithmetic is run on all of
them, so that what is compared with later rounds as the program does.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.formats.coding import encode
from jaxcompress.core.formats.grids import Grid, covered, grid
from jaxcompress.core.types import Array
from jaxcompress.graph import Site
from jaxcompress.graph.convolutions import Convolution
from jaxcompress.graph.jaxprs import as_function, aval_of
from jaxcompress.graph.program import Program
from jaxcompress.quantize.execution.activations import Activations
from jaxcompress.quantize.execution.packed.sources import Made, arithmetic, moved
from jaxcompress.quantize.execution.packed.ways import Way, told
from jaxcompress.quantize.execution.packed.weights import SignSite
from jaxcompress.quantize.execution.signs import cuts, scaled

MOST_ENTRIES = 2**27
"""Numbers that the arithmetic between two sites is tried on at most."""


class Thresholds(NamedTuple):
    """Where the bits of a site's data change, by the sums of another site.

        bit = (sum >= least) != falling

    Attributes:
      least: (planes, …) int32, which broadcasts to the sums that are compared.
      falling: (planes, …) bool: where bits are set below it.
      step: what the site's codes are multiplied by, () float32.
    """

    least: Array
    falling: Array
    step: Array


def fixed_grid(site: Site, activations: Activations) -> Grid:
    """The grid of a site whose range calibration fixed, of one scale."""
    data = jax.ShapeDtypeStruct(site.data_shape, site.data_dtype)
    zero = jnp.zeros((1,) * len(jax.eval_shape(site.rows, data).shape))
    on = grid(covered(activations.ranges(zero, site), activations.spec), activations.spec)
    return jax.tree.map(lambda part: part.reshape(()), on)


@dataclasses.dataclass(frozen=True, eq=False)
class Between:
    """What lies between two sites.

    Attributes:
      program: a flat one.
      made: the way from the first site's output to the second one's data.
      source, reader: the two sites.
      before, after: what they multiply.
    """

    program: Program
    made: Made
    source: Site
    reader: Site
    before: SignSite
    after: SignSite

    @property
    def spacing(self) -> int:
        """How far sums are apart: products are -1 or 1, or also 0, as in padding."""
        specs = self.before.spec, self.before.activations.spec
        # Data of another size may meet padding where these do not.
        windows = isinstance(self.source.layout, Convolution)
        return 1 if windows or any(spec.has_zero for spec in specs) else 2

    @functools.cached_property
    def possible(self) -> np.ndarray:
        """What the first site can sum to, ascending."""
        length = self.before.length
        return np.arange(-length, length + 1, self.spacing, dtype=np.int32)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the values that arithmetic begins with."""
        return aval_of(self.made.begin).shape

    @functools.cached_property
    def axes(self) -> tuple[int, ...]:
        """The axes of those along which channels or parameters differ."""
        if 0 in self.shape:
            return ()
        channels, _ = self.channels
        differ = (np.any(channels != np.take(channels, [0], i)) for i in range(channels.ndim))
        return tuple(sorted({i for i, each in enumerate(differ) if each} | self.made.varies))

    @functools.cached_property
    def channels(self) -> tuple[np.ndarray, np.ndarray]:
        """The last and the first channel that a pool took each entry from."""
        with jax.ensure_compile_time_eval():
            own = _channels(self.source)
            last, first = (np.asarray(moved(each, self.made.before)) for each in (own, -own))
        return last, -first

    @property
    def own_shape(self) -> tuple[int, ...]:
        """The shape with 1 along all other axes."""
        return tuple(size if i in self.axes else 1 for i, size in enumerate(self.shape))

    @property
    def obstacle(self) -> str:
        """Why the sums cannot be tried; empty where they can."""
        calibrated = self.before.activations.calibrated, self.after.activations.calibrated
        if self.source.name not in calibrated[0] or self.reader.name not in calibrated[1]:
            return "ranges of data are found in each call"
        if 0 in self.shape:
            return "no rows to try sums in"
        if not np.array_equal(*self.channels):
            return f"the largest of several channels of the output of {self.source.name}"
        size = len(self.possible) * math.prod(self.own_shape)
        if max(size, math.prod(self.shape)) > MOST_ENTRIES:
            return f"{size:,} sums of all channels are too many to try"
        return ""

    @functools.cached_property
    def way(self) -> Way:
        """What must be alike wherever its thresholds are used."""
        steps = f"{self.source.name} {self.source.dtype}", *told(self.program, self.made)
        if 0 in self.shape:
            return Way(steps, b"")
        channels, _ = self.channels
        own = tuple(slice(None) if i in self.axes else slice(1) for i in range(channels.ndim))
        return Way(steps, channels[own].tobytes())

    def follows(self, way: Way) -> bool:
        """Whether thresholds that were found on a way hold on this one."""
        return self.way == way or (0 in self.shape and self.way.steps == way.steps)

    def fitted(self, found: Thresholds) -> Thresholds:
        """Thresholds found with other numbers of rows, at the rank of these."""
        if 0 in self.shape:
            one = (len(found.least), *self.own_shape)
            return Thresholds(jnp.zeros(one, jnp.int32), jnp.zeros(one, bool), found.step)
        shapes = (self.own_shape, found.least.shape[1:])
        own, had = ([size for size in shape if size > 1] for shape in shapes)
        same_rank = len(shapes[0]) == len(shapes[1])
        if own != had or (same_rank and shapes[0] != shapes[1]):
            raise ValueError(
                f"PackedModel(inputs=...): thresholds of {self.reader.name!r} were found for {had} "
                f"channels or positions, and at these shapes there are {own}. Pack it at these "
                "shapes."
            )
        least, falling = (x.reshape(len(x), *self.own_shape) for x in found[:2])
        return Thresholds(least, falling, found.step)

    def tried(self, params: Sequence[Array], scale: Array, stride: int) -> "Tried":
        """Runs the arithmetic on every sum of every channel.

        Args:
          params: the leaves of the params.
          scale: of the first site's weight.
          stride: how much further sums are from channel to channel.
        """
        jaxpr = self.program.block.jaxpr
        equations, read = arithmetic(self.program, self.made)
        known = dict(zip(jaxpr.invars, params, strict=False))
        known |= dict(zip(jaxpr.constvars, self.program.block.consts, strict=True))
        operands = [*read, self.made.begin]
        run = as_function(equations, operands, [self.made.end], jaxpr.debug_info)
        on = fixed_grid(self.source, self.before.activations)
        scales = moved(_spread(self.source, scale), self.made.before)
        # Computed, since XLA would look up a table of constants as it compiles.
        sums = self._indices(stride) * self.spacing - self.before.length  # (copies, …)
        begin = scaled(sums, scales[None], on.steps(self.before.activations.spec))
        (end,) = jax.vmap(lambda values: run(*(known[var] for var in read), values))(
            begin.astype(self.source.dtype)
        )
        spec = self.after.activations.spec
        on = fixed_grid(self.reader, self.after.activations)
        codes = encode(end.astype(jnp.float32), on, spec)
        return Tried(codes.astype(jnp.int8), jnp.all(jnp.isfinite(end)), on.steps(spec))

    def _first(self, stride: int) -> np.ndarray:
        """The number of the sum that each channel is given first."""
        channels = np.arange(math.prod(self.own_shape)).reshape(self.own_shape)
        return (stride * (7 * channels + 1) % len(self.possible)).astype(np.int32)

    def _indices(self, stride: int) -> Array:
        """(copies, …): the number of the sum at each entry; a channel has them all."""
        rest = [1 if i in self.axes else size for i, size in enumerate(self.shape)]
        copies = -(-len(self.possible) // math.prod(rest))
        places = jnp.arange(copies * math.prod(rest), dtype=jnp.int32).reshape(copies, *rest)
        indices = (places + self._first(stride)[None]) % len(self.possible)
        return jnp.broadcast_to(indices, (copies, *self.shape))

    def by_sum(self, codes: np.ndarray, stride: int) -> np.ndarray:
        """(sums, …), 1 along axes that do not vary, of codes (copies, …)."""
        own = [1 + i for i in self.axes]
        rest = [1 + i for i in range(len(self.shape)) if i not in self.axes]
        count = len(self.possible)
        rows = np.transpose(codes, (0, *rest, *own)).reshape(-1, math.prod(self.own_shape))
        places = (np.arange(count)[:, None] - self._first(stride).reshape(1, -1)) % count
        return np.take_along_axis(rows, places, 0).reshape(count, *self.own_shape)


class Tried(NamedTuple):
    """The codes of the next data, for sums in some order.

    Attributes:
      codes: (copies, …) int8.
      finite: whether all values were.
      step: what codes are multiplied by.
    """

    codes: Array
    finite: Array
    step: Array


def thresholds(
    between: Mapping[str, Between], params: Sequence[Array], scales: Mapping[str, Array]
) -> dict[str, Thresholds | str]:
    """The thresholds of each site's data; or the reason why it has none.

    Args:
      between: by site, the way to it from another.
      params: the leaves of the params.
      scales: by site, those of its weight.
    """

    @jax.jit
    def tried(params, scales):
        # Neighbours differ otherwise in the second: an entry that others move shows.
        return {
            name: [each.tried(params, scales[each.source.name], stride) for stride in (0, 1)]
            for name, each in between.items()
        }

    tables = jax.device_get(tried(list(params), dict(scales)))
    return {name: _found(each, *tables[name]) for name, each in between.items()}


def _found(between: Between, first: Tried, second: Tried) -> Thresholds | str:
    made = f"what is made of the output of {between.source.name}"
    if not (first.finite and second.finite):
        return f"{made} is not finite for every sum"
    codes, again = (
        between.by_sum(np.asarray(each.codes), i) for i, each in enumerate((first, second))
    )
    if not np.array_equal(codes, again):
        return f"{made} depends on its neighbours"
    planes = [codes >= cut for cut in cuts(between.after.activations.spec)]
    found = _rising_or_falling(np.stack(planes), between.possible)
    return Thresholds(*map(jnp.asarray, (*found, first.step))) if found else f"{made} turns"


def _rising_or_falling(bits: np.ndarray, possible: np.ndarray):
    """(least, falling) of bits (planes, sums, …); None where one changes twice."""
    if np.any(np.sum(bits[:, 1:] != bits[:, :-1], axis=1) > 1):
        return None
    beyond = np.append(possible, possible[-1] + 1)
    count = np.sum(bits, axis=1)  # (planes, …): how many sums set the bit
    falling = bits[:, 0] & ~bits[:, -1]
    least = np.where(falling, beyond[count], beyond[len(possible) - count])
    return least.astype(np.int32), falling


def _outputs(site: Site) -> int:
    """How many outputs the weight of a site has, in each of its batches."""
    return math.prod(site.output_shape) // math.prod(site.output_rows)


def _channels(site: Site) -> Array:
    """At every entry of a site's output the number of its channel and batch."""
    batch = site.output_rows[:-1]
    numbers = jnp.arange(math.prod(batch) * _outputs(site), dtype=jnp.int32)
    return _spread(site, numbers.reshape(*batch, 1, _outputs(site)))


def _spread(site: Site, numbers: Array) -> Array:
    """Numbers of channels, (batch…, 1, outputs), at every entry of a site's output."""
    return site.output(jnp.broadcast_to(numbers, (*site.output_rows, _outputs(site))))
