"""Rate models: how many bits an entropy coder will spend on each code of a matrix.

What chooses codes by their bits (`quantize.rounding.rate_distortion`) asks a rate model
for the bits of each code that an entry might get, while all others stay. A model reads
its statistics from the codes as they are: the bits are those of a coder that has them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core import exports
from jaxcompress.core.messages import shown
from jaxcompress.core.types import Array

exports.list_definitions(globals())

Rate = Callable[[Array, Array], Array]
"""(codes (outputs, inputs), candidates (k, outputs, inputs)) to bits of each candidate.

Both int32, codes of one format; the bits are float32 of the candidates' shape, finite
and at least 0.
"""

_LOWEST, _COUNT = -128, 384
"""Codes of every format lie in [-128, 255]."""


def order_0(codes: Array, candidates: Array) -> Array:
    """Bits by how often each code occurs in the whole matrix.

    Not for: sparse weights, of which `by_lines` goes by the density of each row and
    column too.

        bits(c) = log2((n + 1) / (n_c + 1 / 384))

    Also known as: the ideal code length, self-information.

    What a static Huffman or range coder comes near to. A code that does not occur costs
    log2(384 · (n + 1)).

    Args:
      codes: (outputs, inputs) int32, as they are now.
      candidates: (k, outputs, inputs) int32, what they may become.

    Returns:
      (k, outputs, inputs) float32.

    Raises:
      TypeError: codes or candidates are no arrays of integers.
      ValueError: candidates are not of the codes' shape, with one axis in front.

    Example:
      >>> codes = jnp.array([[0, 0, 0, 1]])
      >>> jc.quantize.rates.order_0(codes, jnp.stack([codes, 1 - codes])).round(1)
      Array([[[0.7, 0.7, 0.7, 2.3]],
      <BLANKLINE>
             [[2.3, 2.3, 2.3, 0.7]]], dtype=float32)

    Source: Chou, Lookabaugh and Gray 1989, "Entropy-constrained vector quantization",
    section II, for single numbers.
    """
    _check("order_0", codes, candidates)
    return looked_up(code_lengths(codes), candidates)


def by_lines(codes: Array, candidates: Array) -> Array:
    """Bits by how often the most common code occurs in the same row and column.

    Whether an entry has the most common code, which of pruned weights is zero, goes by
    the densities of its output and of its input; which of the others it has, by how
    often each occurs in the whole matrix. With d the share of the other codes, taken
    over the output, the input and the whole matrix,

        logit(p) = logit(d_output) + logit(d_input) - logit(d)
        bits = -log2(1 - p) for the most common code,
               -log2(p) + log2((m + 1) / (n_c + 1 / 384)) for one of the m others

    What a coder with contexts comes near to, on sparse weights whose neurons are not
    all equally dense.

    Args:
      codes: (outputs, inputs) int32, as they are now.
      candidates: (k, outputs, inputs) int32, what they may become.

    Returns:
      (k, outputs, inputs) float32.

    Raises:
      TypeError: codes or candidates are no arrays of integers.
      ValueError: candidates are not of the codes' shape, with one axis in front.

    Example:
      >>> codes = jnp.array([[0, 0, 0], [0, 1, 2]])
      >>> jc.quantize.rates.by_lines(codes, 0 * codes[None])[0].round(1)  # of zero
      Array([[0. , 0.2, 0.2],
             [0.4, 1.6, 1.6]], dtype=float32)
    """
    _check("by_lines", codes, candidates)
    common = (jnp.argmax(_counts(codes, True)) + _LOWEST).astype(codes.dtype)
    other = codes != common
    logit = _logit_of_others(other.astype(jnp.float32))
    by_kind = jnp.where(candidates == common, jax.nn.softplus(logit), jax.nn.softplus(-logit))
    which = jnp.where(candidates == common, 0.0, looked_up(code_lengths(codes, other), candidates))
    return by_kind * np.float32(1 / np.log(2)) + which


def _check(caller: str, codes: Array, candidates: Array) -> None:
    """Checks dtypes and shapes, which traced arrays have too."""
    for argument, value in (("codes", codes), ("candidates", candidates)):
        if not jnp.issubdtype(getattr(value, "dtype", float), jnp.integer):
            raise TypeError(f"{caller}({argument}={shown(value)}) must be an array of integers.")
    if codes.ndim != 2 or candidates.shape[1:] != codes.shape:
        raise ValueError(
            f"{caller}(codes=...) of shape {codes.shape} and candidates of {candidates.shape} must "
            "be (outputs, inputs) and (k, outputs, inputs)."
        )


def code_lengths(codes: Array, counted: Array | bool = True) -> Array:
    """Bits of each code of any format by how often it occurs, (384,) float32.

        log2((n + 1) / (n_c + 1 / 384))

    Args:
      codes: int32.
      counted: bool, which of them count.
    """
    found = _counts(codes, counted)
    whole = jnp.sum(found).astype(jnp.float32) + 1
    return jnp.log2(whole / (found.astype(jnp.float32) + np.float32(1 / _COUNT)))


def _counts(codes: Array, counted: Array | bool) -> Array:
    """How often each code of any format occurs, (384,) int32."""
    ones = jnp.broadcast_to(jnp.asarray(counted, jnp.int32), codes.shape)
    return jnp.zeros(_COUNT, jnp.int32).at[codes.reshape(-1) - _LOWEST].add(ones.reshape(-1))


def looked_up(lengths: Array, codes: Array) -> Array:
    """The bits of codes in what `code_lengths` gave, of the codes' shape."""
    return lengths[codes - _LOWEST]


def _logit_of_others(other: Array) -> Array:
    """The log odds of a code that is not the most common one, (outputs, inputs).

    Each line counts one entry more, as dense as the whole, so that none is certain.
    """
    outputs, inputs = other.shape
    # Half an entry of either kind, so that the logarithms are finite.
    density = (jnp.sum(other) + 0.5) / (other.size + 1.0)
    of_output = (jnp.sum(other, axis=1, keepdims=True) + density) / (inputs + 1.0)
    of_input = (jnp.sum(other, axis=0, keepdims=True) + density) / (outputs + 1.0)
    return _logit(of_output) + _logit(of_input) - _logit(density)


def _logit(share: Array) -> Array:
    return jnp.log(share) - jnp.log1p(-share)
