"""How data, kernel and output lie at a convolution, as rows of one matrix product."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.types import Array


class Sweep(NamedTuple):
    """How the window of a convolution moves along one axis of the data.

    Attributes:
      padding: zeros before, after and between the data's entries; cuts where negative.
      positions: how many outputs there are along the axis.
      stride: entries from one position to the next.
      taps: how many entries the window holds.
      dilation: entries from one tap to the next.
    """

    padding: tuple[int, int, int]
    positions: int
    stride: int
    taps: int
    dilation: int

    def taken(self, data: Array, axis: int) -> Array:
        """The padded data, a copy for each tap: `axis` becomes (positions, taps)."""
        starts = self.stride * jnp.arange(self.positions)[:, None]
        entries = starts + self.dilation * jnp.arange(self.taps)[None, :]  # (positions, taps)
        # All are in bounds; by default JAX would add a test for those that are not.
        return jnp.take(data, entries, axis=axis, mode="clip")

    def inside(self, size: int) -> np.ndarray:
        """(positions, taps) bool: where the window meets one of `size` entries."""
        before, _, between = self.padding
        starts = self.stride * np.arange(self.positions)[:, None]
        entries = starts + self.dilation * np.arange(self.taps)[None] - before
        entry, gap = np.divmod(entries, between + 1)
        return (gap == 0) & (entry >= 0) & (entry < size)


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A `conv_general_dilated`: where features and positions are, and which meet.

    Attributes:
      data_axes: of the data, (examples, features, positions…).
      kernel_axes: of the weight operand, (outputs, features that one output sums over,
        window…).
      output_axes: of the output, (examples, features, positions…).
      data_shape: of the data.
      output_shape: of the output.
      sweeps: how the window moves along each axis of positions.
      groups: of the features; the outputs of a group sum over those of its own.
      batch_groups: of the examples; the outputs of a group see those of its own.
    """

    data_axes: tuple[int, ...]
    kernel_axes: tuple[int, ...]
    output_axes: tuple[int, ...]
    data_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    sweeps: tuple[Sweep, ...]
    groups: int
    batch_groups: int

    @property
    def grouped(self) -> bool:
        """Whether outputs meet different inputs."""
        return self.groups * self.batch_groups > 1

    @property
    def padded(self) -> bool:
        """Whether windows may hold zeros that are no data."""
        return any(zeros > 0 for sweep in self.sweeps for zeros in sweep.padding)

    @property
    def edge(self) -> np.ndarray:
        """(positions, taps) bool: where a window holds a zero that is no data."""
        inside = np.ones((1, 1), bool)
        for sweep, axis in zip(self.sweeps, self.data_axes[2:], strict=True):
            inside = np.kron(inside, sweep.inside(self.data_shape[axis]))
        return ~inside

    def rows(self, data: Array) -> Array:
        examples, features, *positions = self.data_axes
        ordered = jnp.transpose(data, (examples, *positions, features))
        # To (examples · positions, features).
        return ordered.reshape(math.prod(ordered.shape[:-1]), ordered.shape[-1])

    def windows(self, data: Array) -> Array:
        """(examples · positions, inputs): inputs in the order of the kernel's axes."""
        taken = self.taps(self.rows(data))  # (examples · positions, taps, features)
        taps = [sweep.taps for sweep in self.sweeps]
        apart = taken.reshape(len(taken), *taps, taken.shape[-1])
        # The kernel may be OIHW or HWIO: inputs in its order are those of the matrix.
        at = dict(
            zip((*self.kernel_axes[2:], self.kernel_axes[1]), range(1, apart.ndim), strict=True)
        )
        columns = tuple(at[axis] for axis in sorted(at))
        return jnp.transpose(apart, (0, *columns)).reshape(len(taken), math.prod(taken.shape[1:]))

    def taps(self, rows: Array) -> Array:
        """(examples · positions, taps, …) of the output, of rows of any length."""
        sizes = [self.data_shape[axis] for axis in (self.data_axes[0], *self.data_axes[2:])]
        padding = [(0, 0, 0), *(sweep.padding for sweep in self.sweeps), (0, 0, 0)]
        apart = rows.reshape(*sizes, rows.shape[-1])
        taken = jax.lax.pad(apart, jnp.zeros((), rows.dtype), padding)
        for i, sweep in enumerate(self.sweeps):
            taken = sweep.taken(taken, 1 + 2 * i)
        # Now (examples, positions, taps, positions, taps…, features).
        last = taken.ndim - 1
        positions, taps = (0, *range(1, last, 2)), tuple(range(2, last, 2))
        shape = [math.prod(taken.shape[axis] for axis in axes) for axes in (positions, taps)]
        return jnp.transpose(taken, (*positions, *taps, last)).reshape(*shape, rows.shape[-1])

    @property
    def output_rows(self) -> tuple[int, ...]:
        examples, _, *positions = (self.output_shape[axis] for axis in self.output_axes)
        return (examples * math.prod(positions),)

    def output(self, y: Array) -> Array:
        examples, outputs, *positions = self.output_axes
        order = (examples, *positions, outputs)  # of the output's axes, as they are in `y`
        apart = y.reshape([self.output_shape[axis] for axis in order])
        return jnp.transpose(apart, [order.index(axis) for axis in range(len(order))])
