"""Makes programs smaller by a removal, or masks what it removes.

The function returned computes with sliced params what the masked program computes with
all of them. It is traced and coupled anew for every input shape, so
call it under `jax.jit`. Params are cut in `cutting`.
"""

from jaxcompress.core.models import check_model
from jaxcompress.core.statistics import reading, statistics_of
from jaxcompress.core.types import Model
from jaxcompress.graph.surgery.arrays import Masked, Shrunk
from jaxcompress.graph.surgery.blocks import bypassed
from jaxcompress.graph.surgery.divisors import divisor_edits
from jaxcompress.graph.surgery.removal import Removal, require_removal
from jaxcompress.graph.surgery.resolving import Smaller, misfit, resolve, restored
from jaxcompress.graph.surgery.stacks import shortened
from jaxcompress.graph.surgery.walk import Coupled, couple
from jaxcompress.graph.surgery.writer import Writer, written


def shrink(fn: Model, removed: Removal) -> Model:
    """The model with what was removed absent from every array.

    Every shape is derived anew; literals stay, so a mean still divides by the number it
    divided by, unless the removal says `Divisors.NEW`. Gradients that functions define
    for themselves are kept. Random bits are drawn at full size, so dropout drops what
    it would have dropped.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      removed: what goes, of the same model, at any batch size: units from
        `Couplings.removal`, or what `without_blocks` and `without_layers` removed.

    Returns:
      `fn'(params, *inputs) -> outputs` for params as `slice_params` gives them. It
      traces `fn` whenever it is called or traced: jit it.

    Raises:
      ValueError: (when called) the params do not have the sizes that the removal
        leaves, or the program has other blocks or layers, or couples its axes otherwise
        at these input shapes.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 8)), "out": jnp.ones((8, 2))}
      >>> x = jnp.ones((5, 3))
      >>> removed = jc.graph.couplings(fn, params, x).removal({"in:1": [0, 7]})
      >>> small = jc.graph.surgery.slice_params(params, removed)
      >>> small["in"].shape, jc.graph.surgery.shrink(fn, removed)(small, x).shape
      ((3, 6), (5, 2))
    """
    check_model("shrink", fn)
    require_removal("shrink", "removed", removed)
    return shrunk_by("shrink", fn, removed)


def shrunk_by(caller: str, fn: Model, removed: Removal) -> Model:
    """`shrink` for a callable that errors of the smaller model name."""

    def shrunk(params, *inputs):
        coupled = couple(fn, restored(caller, params, removed), *inputs)
        return shrunk_program(caller, coupled, removed)(params, *inputs)

    reading(statistics_of(fn), shrunk)
    return shrunk


def shrunk_program(caller: str, coupled: Coupled, removed: Removal) -> Model:
    """What `shrink` gives, of a program already traced, at its input shapes alone."""
    smaller = _smaller(caller, coupled, removed)
    writer = Writer(coupled.body, smaller.arrays, smaller.edits)
    return lambda params, *inputs: written(writer, coupled, params, inputs)


def _smaller(caller: str, coupled: Coupled, removal: Removal) -> Smaller:
    """How the program without what is removed is written."""
    if removal.blocks:
        found = bypassed(caller, coupled, removal.blocks)
    elif removal.layers:
        found = shortened(caller, coupled, dict(removal.layers))
    else:
        removed = resolve(caller, removal, coupled.leaves)
        edits = divisor_edits(removal.divisors, coupled.body, removed)
        return Smaller(removal.cuts, Shrunk(removed), edits)
    if set(found.cuts) != set(removal.cuts):
        raise ValueError(misfit(caller, removal, "its parts have other leaves"))
    return found


def masked(fn: Model, removed: Removal) -> Model:
    """The model at full size in which no sum or maximum sees what was removed.

    This defines what a removal means: `shrink` computes the same,
    up to the order of sums.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      removed: which units go, from `Couplings.removal`.

    Returns:
      `fn'(params, *inputs) -> outputs` for the params as they were.

    Raises:
      ValueError: (when called) the removal is of blocks or layers, which gates pass by,
        or does not fit the program.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.ones((3, 8)), "out": jnp.ones((8, 2))}
      >>> x = jnp.ones((5, 3))
      >>> removed = jc.graph.couplings(fn, params, x).removal({"in:1": [0, 7]})
      >>> jc.graph.surgery.masked(fn, removed)(params, x)[0]
      Array([5.97, 5.97], dtype=float32)
    """
    check_model("masked", fn)
    require_removal("masked", "removed", removed)

    def program(params, *inputs):
        return masked_program(couple(fn, params, *inputs), removed)(params, *inputs)

    return program


def masked_program(coupled: Coupled, removed: Removal) -> Model:
    """What `masked` gives, of a program already traced, at its input shapes alone."""
    gone = resolve("masked", removed, coupled.leaves)
    edits = divisor_edits(removed.divisors, coupled.body, gone)
    writer = Writer(coupled.body, Masked(gone), edits)
    return lambda params, *inputs: written(writer, coupled, params, inputs)
