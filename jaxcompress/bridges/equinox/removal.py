"""A smaller Equinox module after a removal, its static fields set to the new sizes."""

from collections.abc import Iterator
from typing import Any

import equinox
import jax

from jaxcompress.bridges.agreement import Shrunk, Smaller, agreement, check_shapes, check_smaller
from jaxcompress.bridges.equinox import readings
from jaxcompress.bridges.equinox.calls import Call, each_example, each_example_with_state
from jaxcompress.bridges.equinox.models import combined, functional, stateful
from jaxcompress.bridges.fields import Layer, given, own_integers, resized
from jaxcompress.bridges.functional import NO_KEYWORDS, Functional, Keywords, check_keywords
from jaxcompress.bridges.sizes import Readings, SizeReport, extents_of, listed
from jaxcompress.core.kinds import check_function, check_kind
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import key_name
from jaxcompress.core.types import Params, PyTree
from jaxcompress.graph.surgery.cutting import cut_params

_LAYERS: Readings = {
    equinox.nn.Linear: readings.linear,
    equinox.nn.Conv: readings.convolution,
    equinox.nn.ConvTranspose: readings.convolution,
    equinox.nn.Embedding: readings.embedding,
    equinox.nn.LayerNorm: readings.norm,
    equinox.nn.RMSNorm: readings.norm,
    equinox.nn.GroupNorm: readings.group_norm,
    equinox.nn.BatchNorm: readings.batch_norm,
    equinox.nn.MultiheadAttention: readings.attention,
    equinox.nn.GRUCell: readings.recurrent_cell,
    equinox.nn.LSTMCell: readings.recurrent_cell,
    equinox.nn.MLP: readings.mlp,
}
"""Where the fields of Equinox's layers stand in their leaves."""


def shrunk(
    model: equinox.Module,
    removed: Smaller,
    *inputs: PyTree,
    sizes: Keywords = NO_KEYWORDS,
    call: Call = each_example,
) -> Shrunk:
    """Shrinks the module after a removal: its arrays, and static fields that fit them.

    Fields of Equinox's own layers (`out_features`, `num_heads`, `shape`, ...) are set
    where the smaller arrays say what they are; those of other classes only by `sizes`.
    On the batch the module is checked, in inference mode, against the shrunk program:
    widths of layers, channels and heads come out the same. A norm divides by the new
    width, which is that of a removal with `graph.Divisors.NEW`, and attention by the
    root of the new size of a head.

    Args:
      model: the module that `functional` was given; unchanged.
      removed: what `structure.remove` made of it. Its params may have been trained.
      inputs: a batch of arrays.
      sizes: by path, values of fields of your own classes, for example
        `{"blocks/0/num_heads": 3}`.
      call: as in `functional`.

    Returns:
      Shrunk, with a new module in the model's own mode.

    Raises:
      ValueError: the removal is not of this module, or of one with state, which
        `shrunk_stateful` takes; `sizes` names no field, or the smaller module does not
        run.
      ArithmeticError: the smaller module computes something else than the program.

    Example:
      >>> import equinox as eqx
      >>> model = eqx.nn.MLP(2, 1, 4, depth=1, key=jax.random.key(0))
      >>> x = jnp.ones((3, 2))
      >>> start = jc.bridges.equinox.functional(model)
      >>> score = jc.structure.importance.magnitude()
      >>> half = jc.structure.amounts.fraction(0.5)
      >>> removed = jc.structure.remove(start.fn, start.params, score, x, cut=half)
      >>> small = jc.bridges.equinox.shrunk(model, removed, x)
      >>> print(small.sizes)
      path      layer   field         before  after
      .         MLP     width_size    4       2
      layers/0  Linear  out_features  4       2
      layers/1  Linear  in_features   4       2
    """
    check_kind("equinox.shrunk", "model", model, equinox.Module, "Call the class, as MLP(key=key).")
    check_smaller("equinox.shrunk", removed, inputs)
    check_keywords("equinox.shrunk", sizes=sizes)
    check_function("equinox.shrunk", "call", call, "For example equinox.each_example.")
    if isinstance(removed.params, dict) and set(removed.params) == {"params", "state"}:
        raise ValueError(
            "equinox.shrunk: the removal is of a model with state, as equinox.stateful gives it. "
            "Call equinox.shrunk_stateful(model, state, removed, *inputs)."
        )
    bridge = functional(model, call=call)
    _check("equinox.shrunk", bridge, removed)
    _, static = equinox.partition(model, equinox.is_inexact_array)
    module = combined(static, removed.params)
    report = _refit("equinox.shrunk", module, removed, sizes)
    smaller = functional(module, call=call)
    return Shrunk(module, report, _agreement("equinox.shrunk", smaller, removed, inputs, report))


def shrunk_stateful(
    model: equinox.Module,
    state: equinox.nn.State,
    removed: Smaller,
    *inputs: PyTree,
    sizes: Keywords = NO_KEYWORDS,
    call: Call = each_example_with_state,
) -> Shrunk:
    """Shrinks a model with state, such as the statistics of batch norms.

    Args:
      model: what `stateful` was given; unchanged.
      state: the same.
      removed: as in `shrunk`.
      inputs: as in `shrunk`.
      sizes: as in `shrunk`.
      call: as in `stateful`.

    Returns:
      Shrunk, whose module is (module, state).

    Raises:
      ValueError, ArithmeticError: as `shrunk`.

    Example:
      >>> import equinox as eqx
      >>> class Net(eqx.Module):
      ...     first: eqx.nn.Linear
      ...     norm: eqx.nn.BatchNorm
      ...     last: eqx.nn.Linear
      ...
      ...     def __init__(self, key):
      ...         self.first = eqx.nn.Linear(2, 4, key=key)
      ...         self.norm = eqx.nn.BatchNorm(4, axis_name="batch", mode="ema")
      ...         self.last = eqx.nn.Linear(4, 1, key=key)
      ...
      ...     def __call__(self, x, state):
      ...         x, state = self.norm(self.first(x), state)
      ...         return self.last(jax.nn.relu(x)), state
      >>> model, state = eqx.nn.make_with_state(Net)(jax.random.key(0))
      >>> x = jnp.ones((3, 2))
      >>> start = jc.bridges.equinox.stateful(model, state)
      >>> score = jc.structure.importance.magnitude()
      >>> half = jc.structure.amounts.fraction(0.5)
      >>> removed = jc.structure.remove(start.fn, start.params, score, x, cut=half)
      >>> small = jc.bridges.equinox.shrunk_stateful(model, state, removed, x)
      >>> module, state = small.module
      >>> module.first.out_features
      2
    """
    caller = "equinox.shrunk_stateful"
    check_kind(caller, "model", model, equinox.Module, "Call the class, as MLP(key=key).")
    check_kind(caller, "state", state, equinox.nn.State, "Take it from nn.make_with_state.")
    check_smaller(caller, removed, inputs)
    check_keywords(caller, sizes=sizes)
    check_function(caller, "call", call, "For example equinox.each_example_with_state.")
    bridge = stateful(model, state, call=call)
    _check(caller, bridge, removed)
    parts = {"params": model, "state": state}
    _, static = equinox.partition(parts, equinox.is_inexact_array)
    both = combined(static, removed.params)
    module, state = both["params"], both["state"]
    report = _refit(caller, module, removed, sizes)
    smaller = stateful(module, state, call=call)
    return Shrunk((module, state), report, _agreement(caller, smaller, removed, inputs, report))


def _check(caller: str, bridge: Functional, removed: Smaller) -> None:
    """Raises unless the removal was made for this module."""
    shapes = jax.eval_shape(lambda: bridge.params)
    check_shapes(caller, cut_params(caller, shapes, removed.removal), removed.params)


def _refit(caller: str, module: equinox.Module, removed: Smaller, sizes: Keywords) -> SizeReport:
    """Sets the fields of a module that was just made: nobody else holds it yet."""
    modules = dict(_modules(module))
    own = tuple(own_integers(modules, removed, "equinox"))
    changed = (
        *resized(_layers(modules, removed), _LAYERS, object.__setattr__),
        *given(caller, modules, sizes, own, object.__setattr__),
    )
    return SizeReport(changed, tuple(size for size in own if size.name not in sizes))


def _agreement(
    caller: str, smaller: Functional, removed: Smaller, inputs: tuple[Any, ...], report: SizeReport
) -> float:
    """How far the smaller module is from the program, on the program's own params."""
    # Their tree holds the larger module's fields, so the leaves go over one by one.
    structure = jax.tree.structure(smaller.params, is_leaf=is_compressed)

    def fn(params: Params, *inputs):
        return smaller.fn(jax.tree.unflatten(structure, jax.tree.leaves(params)), *inputs)

    mend = f"Give sizes= for those of your own fields that hold sizes: {listed(report.left)}. "
    return agreement(caller, fn, removed, inputs, mend)


def _modules(node, path: str = "") -> Iterator[tuple[str, equinox.Module]]:
    """Every module inside by path, from the top; whatever containers lie between."""
    if isinstance(node, equinox.Module):
        yield path, node
    if is_compressed(node):
        return
    children, _ = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    for keys, child in children:
        if keys:  # a leaf is its own only child
            name = key_name(keys[0])
            yield from _modules(child, f"{path}/{name}" if path else name)


def _layers(modules: dict[str, equinox.Module], removed: Smaller) -> Iterator[Layer]:
    """Every module, with the axes of its arrays in the smaller params."""
    extents = extents_of(removed.params, removed.removal)
    for path, module in modules.items():
        prefix = f"{path}/" if path else ""
        axes = {
            name.removeprefix(prefix): each
            for name, each in extents.items()
            if name.startswith(prefix)
        }
        yield Layer(path, module, axes)
