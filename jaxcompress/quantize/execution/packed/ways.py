"""What the arithmetic between two sites is, told so that another trace can be compared.

Thresholds hold where it is the same: the same equations, numbers and places in the
parameters. Numbers of rows may differ, and so may the sizes that arrays are spread to.
"""

import enum
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import JaxprEqn, Literal, Var

from jaxcompress.core.types import Array
from jaxcompress.graph.jaxprs import aval_of
from jaxcompress.graph.program import Program
from jaxcompress.quantize.execution.packed.sources import MOVES, Made, arithmetic

SPREADS = MOVES - {"rev", "slice"} | {"broadcast_in_dim"}
"""What says shapes alone, which rows are part of."""

_PLAIN = (bool, int, float, complex, str, bytes, np.generic, np.dtype, type, enum.Enum)
_UNSAID = frozenset(("sharding", "weak_type"))
"""Parameters of equations that change no number."""


class Way(NamedTuple):
    """What lies between two sites, told.

    Attributes:
      steps: the site it begins at and all equations, with what they read.
      channels: those of the thresholds in order, as bytes.
    """

    steps: tuple[str, ...]
    channels: bytes


def told(program: Program, made: Made) -> tuple[str, ...]:
    """The equations between two sites in order, each with what it reads."""
    equations, read = arithmetic(program, made)
    jaxpr = program.block.jaxpr
    names = {var: f"operand{i}" for i, var in enumerate(jaxpr.invars)}
    consts = zip(jaxpr.constvars, program.block.consts, strict=True)
    names |= {var: _number(const) for var, const in consts if var in read}
    names[made.begin] = "begin"
    said = []
    for i, eqn in enumerate(equations):
        said.append(_said(eqn, names))
        names |= {var: f"result{i}.{j}" for j, var in enumerate(eqn.outvars)}
    moves = [f"{eqn.primitive.name} {_kind(eqn)}" for eqn in (*made.before, *made.after)]
    return (*moves, *said)


def _said(eqn: JaxprEqn, names: Mapping[Var, str]) -> str:
    """An equation with all that its result depends on, save for sizes."""
    read = [_number(x.val) if isinstance(x, Literal) else names[x] for x in eqn.invars]
    return " ".join((eqn.primitive.name, _kind(eqn), *read, *_parameters(eqn)))


def _kind(eqn: JaxprEqn) -> str:
    return str(aval_of(eqn.outvars[0]).dtype)


def _parameters(eqn: JaxprEqn) -> list[str]:
    if eqn.primitive.name in SPREADS:
        return []
    if eqn.primitive.name == "iota":
        return [f"length={eqn.params['shape'][eqn.params['dimension']]}"]
    return [
        f"{name}={_plain(value)}"
        for name, value in sorted(eqn.params.items())
        if name not in _UNSAID
    ]


def _plain(value: Any) -> str:
    """A value as text; of what has no text that stays, as inner programs, its kind."""
    if value is None or isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, Sequence):
        return f"({', '.join(map(_plain, value))})"
    return type(value).__name__


def _number(value: Array | float) -> str:
    """A constant as text: an array by its bytes, a traced one by its type alone."""
    if isinstance(value, Tracer):
        return f"traced {value.aval}"
    if jnp.issubdtype(jnp.result_type(value), jax.dtypes.prng_key):
        value = jax.random.key_data(jnp.asarray(value))
    array = np.asarray(value)
    if array.ndim == 0:
        return repr(array[()])
    digest = hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()
    return f"{array.dtype} {array.shape} {digest}"
