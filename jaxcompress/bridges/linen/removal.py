"""A Linen module that fits the params after a removal, built anew."""

import math
from typing import Any

import jax
from flax import linen

from jaxcompress.bridges import readings
from jaxcompress.bridges.agreement import (
    Shrunk,
    Smaller,
    agreement,
    check_shapes,
    check_smaller,
    misfit_count,
)
from jaxcompress.bridges.functional import NO_KEYWORDS, Keywords, check_keywords
from jaxcompress.bridges.linen.models import functional
from jaxcompress.bridges.own_fields import refit
from jaxcompress.bridges.sizes import (
    Axes,
    Extent,
    Reading,
    Readings,
    Size,
    SizeReport,
    changes,
    extents_of,
    reading_of,
)
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.types import Params, PyTree
from jaxcompress.graph.surgery.resolving import restored

_LAYERS: Readings = {
    linen.Dense: readings.linear,
    linen.DenseGeneral: readings.linear_general,
    linen.Einsum: readings.einsum,
    linen.Conv: readings.convolution,
    linen.ConvLocal: readings.linear,
    linen.ConvTranspose: readings.convolution,
    linen.Embed: readings.embedding,
    linen.GroupNorm: readings.group_norm,
    linen.MultiHeadDotProductAttention: readings.attention,
    linen.RNNCellBase: readings.recurrent_cell,
}
"""Where the fields of Flax's layers stand in their leaves. Other norms have none."""


def sizes(
    module: linen.Module, removed: Smaller, *inputs: PyTree, evaluation: Keywords = NO_KEYWORDS
) -> SizeReport:
    """The constructor fields that no longer fit, layer by layer.

    Layers are those that the call reaches. What builds them, a literal or a field of
    the class around them, is for you to change: see `check_rebuilt`.

    Args:
      module: the module that `functional` was given.
      removed: what `structure.remove` made of it.
      inputs: a batch; only shapes matter here.
      evaluation: keywords of `module.apply`, as in `functional`.

    Returns:
      SizeReport, in the order of the calls.

    Raises:
      ValueError: the removal leaves other shapes than the params have.

    Example:
      >>> from flax import linen
      >>> module = linen.Sequential([linen.Dense(4), linen.relu, linen.Dense(1)])
      >>> x = jnp.ones((3, 2))
      >>> variables = module.init(jax.random.key(0), x)
      >>> model = jc.bridges.linen.functional(module, variables)
      >>> score = jc.structure.importance.magnitude()
      >>> half = jc.structure.amounts.fraction(0.5)
      >>> removed = jc.structure.remove(model.fn, model.params, score, x, cut=half)
      >>> print(jc.bridges.linen.sizes(module, removed, x))
      path      layer  field     before  after
      layers_0  Dense  features  4       2
      >>> small = linen.Sequential([linen.Dense(2), linen.relu, linen.Dense(1)])
      >>> jc.bridges.linen.check_rebuilt(small, removed, x)
      0.0
    """
    check_kind("linen.sizes", "module", module, linen.Module, "Call the class, as MLP().")
    check_smaller("linen.sizes", removed, inputs)
    check_keywords("linen.sizes", evaluation=evaluation)
    extents = extents_of(removed.params, removed.removal)
    found: list[Size] = []
    for path, (layer, reading) in _called(module, removed, inputs, evaluation).items():
        found.extend(changes(path, layer, reading, _axes(extents, path)))
    return SizeReport(tuple(found))


def check_rebuilt(
    rebuilt: linen.Module, removed: Smaller, *inputs: PyTree, evaluation: Keywords = NO_KEYWORDS
) -> float:
    """Checks that a rebuilt module computes what the smaller program computes.

    Its `init` must give the shapes of the smaller params and, on the batch, it must
    compute what the shrunk program does: a layer norm divides by the new width and
    attention by the root of the new size of a head, and the program does not.

    Args:
      rebuilt: the module with the fields that `sizes` lists.
      removed: what `structure.remove` made of the original.
      inputs: a batch of arrays.
      evaluation: keywords of `module.apply`, as in `functional`.

    Returns:
      The largest difference of its outputs on the batch to those of the shrunk program,
      relative to the largest output.

    Raises:
      ValueError: a leaf is missing, left over or of another shape: names it.
      ArithmeticError: the module computes something else than the program.
    """
    check_kind("linen.check_rebuilt", "rebuilt", rebuilt, linen.Module, "Call the class, as MLP().")
    check_smaller("linen.check_rebuilt", removed, inputs)
    check_keywords("linen.check_rebuilt", evaluation=evaluation)
    caller = "linen.check_rebuilt"
    try:
        shapes = _initial_shapes(rebuilt, removed, inputs, evaluation)
    except Exception as error:
        raise ValueError(f"{caller}: the module's init does not run: {error}") from error
    check_shapes(caller, shapes, removed.params)
    return _agreement(caller, rebuilt, removed, inputs, evaluation)


def shrunk(
    module: linen.Module, removed: Smaller, *inputs: PyTree, evaluation: Keywords = NO_KEYWORDS
) -> Shrunk:
    """Rebuilds a module whose own constructor fields hold all its sizes.

    Of its integers and tuples of integers those are changed that bring the shapes of
    `init` in line with the smaller params. Then it is checked as by `check_rebuilt`.

    Args:
      module: the module that `functional` was given.
      removed: what `structure.remove` made of it.
      inputs: a batch of arrays.
      evaluation: keywords of `module.apply`, as in `functional`.

    Returns:
      Shrunk, with a module that takes `removed.params` as its variables.

    Raises:
      ValueError: changing its own fields does not give the smaller shapes.
      ArithmeticError: the smaller module computes something else than the program.

    Example:
      >>> from flax import linen
      >>> class Network(linen.Module):
      ...     width: int
      ...
      ...     @linen.compact
      ...     def __call__(self, x):
      ...         return linen.Dense(1)(linen.relu(linen.Dense(self.width)(x)))
      >>> module, x = Network(4), jnp.ones((3, 2))
      >>> variables = module.init(jax.random.key(0), x)
      >>> model = jc.bridges.linen.functional(module, variables)
      >>> score = jc.structure.importance.magnitude()
      >>> half = jc.structure.amounts.fraction(0.5)
      >>> removed = jc.structure.remove(model.fn, model.params, score, x, cut=half)
      >>> jc.bridges.linen.shrunk(module, removed, x).module.width
      2
    """
    check_kind("linen.shrunk", "module", module, linen.Module, "Call the class, as MLP().")
    check_smaller("linen.shrunk", removed, inputs)
    check_keywords("linen.shrunk", evaluation=evaluation)
    listed = sizes(module, removed, *inputs, evaluation=evaluation)

    def misfits(module: linen.Module) -> float:
        return _misfits(module, removed, inputs, evaluation)

    rebuilt, changed = refit(module, removed.removal, listed, misfits)
    if misfits(rebuilt):
        raise ValueError(
            f"linen.shrunk: no change of {type(module).__name__}'s own fields gives the smaller "
            "shapes. Build it anew so that these are as listed, and pass it to "
            f"linen.check_rebuilt. Or use the program, removed.fn.\n{listed}"
        )
    apart = _agreement("linen.shrunk", rebuilt, removed, inputs, evaluation)
    return Shrunk(rebuilt, SizeReport(changed), apart)


def _called(
    module: linen.Module, removed: Smaller, inputs: tuple[Any, ...], evaluation: Keywords
) -> dict[tuple[str, ...], tuple[linen.Module, Reading]]:
    """The layers by path, in the order of their first call; no parts of a layer."""
    called: dict[tuple[str, ...], tuple[linen.Module, Reading]] = {}

    def record(call, arguments, keywords, context):
        path, layer = context.module.path, context.module
        # On the way into a lifted transform a layer has a name, but no path yet.
        placed = path or layer.name == module.name
        inside = any(path[:length] in called for length in range(len(path) + 1))
        reading = reading_of(layer, _LAYERS)
        if reading is not None and placed and not inside:
            called[path] = layer, reading
        return call(*arguments, **keywords)

    def run(params, *inputs):
        return module.apply(params, *inputs, **evaluation)

    with linen.intercept_methods(record):
        jax.eval_shape(run, restored("linen.shrunk", removed.params, removed.removal), *inputs)
    return called


def _axes(extents: dict[str, tuple[Extent, ...]], path: tuple[str, ...]) -> Axes:
    prefix = "".join(f"{key}/" for key in path)
    return {
        name.removeprefix(prefix): axes for name, axes in extents.items() if name.startswith(prefix)
    }


def _initial_shapes(
    module: linen.Module, removed: Smaller, inputs: tuple[Any, ...], evaluation: Keywords
) -> Params:
    """What `init` would give, of the collections that the params have."""
    keywords = {name: evaluation[name] for name in evaluation.keys() - {"mutable", "rngs"}}

    def init(*inputs):
        return module.init(jax.random.key(0), *inputs, **keywords)

    shapes = jax.eval_shape(init, *inputs)
    return {name: shapes[name] for name in shapes if name in removed.params}


def _agreement(
    caller: str,
    module: linen.Module,
    removed: Smaller,
    inputs: tuple[Any, ...],
    evaluation: Keywords,
) -> float:
    fn = functional(module, removed.params, evaluation=evaluation).fn
    return agreement(caller, fn, removed, inputs, "Change the fields that linen.sizes lists. ")


def _misfits(
    module: linen.Module, removed: Smaller, inputs: tuple[Any, ...], evaluation: Keywords
) -> float:
    """How many leaves are not those of the smaller params."""
    try:
        shapes = _initial_shapes(module, removed, inputs, evaluation)
    except Exception:  # what a module raises at sizes that do not fit is its own affair
        return math.inf
    return misfit_count(shapes, removed.params)
