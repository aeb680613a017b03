"""Flax NNX: a module as `(fn, params, train_fn)`, and back to a module.

After a removal it is a smaller module, whose fields say its sizes.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from jaxcompress.bridges import readings
from jaxcompress.bridges.absent import absent
from jaxcompress.bridges.agreement import Shrunk, Smaller, agreement, check_shapes, check_smaller
from jaxcompress.bridges.fields import Layer, given, own_integers, resized
from jaxcompress.bridges.functional import NO_KEYWORDS, Functional, Keywords, check_keywords
from jaxcompress.bridges.layout import OWN, layout_of, updated
from jaxcompress.bridges.sizes import Readings, SizeReport, extents_of, listed
from jaxcompress.core import exports, statistics
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.leaf import is_compressed, materialize
from jaxcompress.core.names import named_leaves
from jaxcompress.core.types import Key, Params, PyTree
from jaxcompress.graph.surgery.cutting import cut_params

try:
    from flax import nnx
except ModuleNotFoundError as error:
    raise absent("nnx", "flax", error) from error

exports.list_definitions(globals())

_LAYERS: Readings = {
    nnx.Linear: readings.linear,
    nnx.LinearGeneral: readings.linear_general,
    nnx.Einsum: readings.einsum,
    nnx.Conv: readings.convolution,
    nnx.ConvTranspose: readings.convolution,
    nnx.Embed: readings.embedding,
    nnx.BatchNorm: readings.norm,
    nnx.LayerNorm: readings.norm,
    nnx.RMSNorm: readings.norm,
    nnx.InstanceNorm: readings.norm,
    nnx.GroupNorm: readings.group_norm,
    nnx.MultiHeadAttention: readings.attention,
    nnx.LoRA: readings.low_rank,
    nnx.RNNCellBase: readings.recurrent_cell,
}
"""Where the fields of Flax's layers stand in their leaves."""


def functional(
    model: nnx.Module,
    *,
    evaluation: Keywords = NO_KEYWORDS,
    training: Keywords = NO_KEYWORDS,
) -> Functional:
    """The module as pure functions of its floating variables.

    `fn` is what the model does after `model.eval()`, `train_fn` what it does after
    `model.train()`; the model itself is neither switched nor written to.

    Args:
      model: any NNX module. Later changes to it are not seen.
      evaluation: keywords of the model's call in `fn`, where switches are arguments.
      training: keywords of the model's call in `train_fn`; the streams of an `nnx.Rngs`
        among them start from the key of each call.

    Returns:
      Functional whose params are an `nnx.State` of every floating variable, batch
      statistics included: leaf names are the attribute paths, for example
      "layers/0/kernel", and each variable keeps its type and metadata. Integer
      variables stay what they are now, random streams start from the key of `train_fn`,
      and what layers sowed is left out. `restore(params)` is a new module in the
      model's own mode, with random streams where the model's are.

    Raises:
      TypeError: the model is not an NNX module.

    Example:
      >>> from flax import nnx
      >>> model = jc.bridges.nnx.functional(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
      >>> jc.named_leaves(model.params)["kernel"].shape
      (2, 3)
      >>> model.fn(model.params, jnp.ones((1, 2))).shape
      (1, 3)
      >>> type(model.restore(model.params)).__name__
      'Linear'
    """
    check_keywords("nnx.functional", evaluation=evaluation, training=training)
    if not isinstance(model, nnx.Module):
        raise TypeError(
            f"nnx.functional(model of type {type(model).__name__}) needs an nnx.Module. "
            "For a Linen module use linen.functional(module, variables)."
        )
    graphdef, params, rest = nnx.split(model, _is_parameter, ...)
    params, rest = _copied(params), _copied(rest)
    paths = {path for path, _ in nnx.to_flat_state(params)}
    evaluated, trained = _merge(graphdef, params, rest), _merge(graphdef, params, rest)
    evaluated.eval()
    trained.train()
    evaluated, trained = nnx.graphdef(evaluated), nnx.graphdef(trained)
    layout = layout_of(params)

    def fn(params: Params, *inputs):
        params = layout.arranged("nnx: fn", _no_module("fn", params))
        return _merge(evaluated, materialize(params), rest)(*inputs, **evaluation)

    streams = {
        name: nnx.split(value) for name, value in training.items() if isinstance(value, nnx.Rngs)
    }

    def train_fn(given: Params, *inputs, key: Key):
        params = layout.arranged("nnx: train_fn", _no_module("train_fn", given))
        # Together, so that no two streams start from one key.
        own, states = _reseeded((rest, {name: state for name, (_, state) in streams.items()}), key)
        fresh = {name: nnx.merge(streams[name][0], state) for name, state in states.items()}
        module = _merge(trained, materialize(params), own)
        outputs = module(*inputs, **{**training, **fresh})
        return outputs, updated(given, nnx.state(module, lambda path, variable: path in paths))

    def restore(params: Params) -> nnx.Module:
        params = layout.fitting("nnx: restore", _no_module("restore", params), "nnx.shrunk")
        return _merge(graphdef, params, rest)

    return Functional(
        fn=fn,
        params=params,
        train_fn=train_fn,
        restore=restore,
        statistics=statistics.named(named_leaves(params.filter(nnx.BatchStat)).keys()),
    )


def shrunk(
    model: nnx.Module,
    removed: Smaller,
    *inputs: PyTree,
    sizes: Keywords = NO_KEYWORDS,
    evaluation: Keywords = NO_KEYWORDS,
) -> Shrunk:
    """Shrinks the module after a removal: its variables, and fields that fit them.

    Fields of Flax's own layers (`out_features`, `num_heads`, ...) are set where the
    smaller arrays say what they are; those of other classes only by `sizes`. On the
    batch the module is checked, in evaluation mode, against the shrunk program: widths
    of layers, channels and heads come out the same, but a layer norm divides by the new
    width and attention by the root of the new size of a head.

    Args:
      model: the module that `functional` was given; unchanged.
      removed: what `structure.remove` made of it. Its params may have been trained.
      inputs: a batch of arrays.
      sizes: by path, values of fields of your own classes, for example
        `{"blocks/0/num_heads": 3}`.
      evaluation: keywords of the module's call, as in `functional`.

    Returns:
      Shrunk, with a new module in the model's own mode.

    Raises:
      ValueError: the removal is not of this module, `sizes` names no field, or the
        smaller module does not run.
      ArithmeticError: the smaller module computes something else than the program.

    Example:
      >>> from flax import nnx
      >>> rngs, x = nnx.Rngs(0), jnp.ones((3, 2))
      >>> hidden = nnx.Linear(2, 4, rngs=rngs)
      >>> model = nnx.Sequential(hidden, nnx.relu, nnx.Linear(4, 1, rngs=rngs))
      >>> start = jc.bridges.nnx.functional(model)
      >>> score = jc.structure.importance.magnitude()
      >>> half = jc.structure.amounts.fraction(0.5)
      >>> removed = jc.structure.remove(start.fn, start.params, score, x, cut=half)
      >>> small = jc.bridges.nnx.shrunk(model, removed, x)
      >>> small.module(x).shape
      (3, 1)
      >>> print(small.sizes)
      path      layer   field         before  after
      layers/0  Linear  out_features  4       2
      layers/2  Linear  in_features   4       2
    """
    check_kind("nnx.shrunk", "model", model, nnx.Module, "Call the class, as MLP(rngs=rngs).")
    check_smaller("nnx.shrunk", removed, inputs)
    check_keywords("nnx.shrunk", sizes=sizes, evaluation=evaluation)
    bridge = functional(model)
    shapes = jax.eval_shape(lambda: bridge.params)
    check_shapes("nnx.shrunk", cut_params("nnx.shrunk", shapes, removed.removal), removed.params)
    graphdef, _, rest = nnx.split(model, _is_parameter, ...)
    module = _merge(graphdef, removed.params, rest)
    modules = _modules(module)
    own = tuple(own_integers(modules, removed, "flax"))
    changed = [
        *resized(_layers(module, removed), _LAYERS, setattr),
        *given("nnx.shrunk", modules, sizes, own, setattr),
    ]
    left = tuple(size for size in own if size.name not in sizes)
    report = SizeReport(tuple(changed), left)
    fn = functional(module, evaluation=evaluation).fn
    mend = f"Give sizes= for those of your own fields that hold sizes: {listed(left)}. "
    return Shrunk(module, report, agreement("nnx.shrunk", fn, removed, inputs, mend))


def _layers(module: nnx.Module, removed: Smaller) -> Iterator[Layer]:
    """Every module inside, with the axes of its variables in the smaller params."""
    extents = extents_of(removed.params, removed.removal)
    names = _names(module)
    for path, layer in _modules(module).items():
        axes = {
            name: extents[names[key]]
            for key, name in _names(layer).items()
            if names[key] in extents
        }
        yield Layer(path, layer, axes)


def _modules(module: nnx.Module) -> dict[str, nnx.Module]:
    """Every module inside by path, from the top."""
    nodes = nnx.iter_graph(module)
    found = [(path, node) for path, node in nodes if isinstance(node, nnx.Module)]
    found.sort(key=lambda pair: len(pair[0]))
    return {"/".join(map(str, path)): node for path, node in found}


def _names(module: nnx.Module) -> dict[int, str]:
    """The names of the variables, by identity; a shared one goes by its first path."""
    names: dict[int, str] = {}
    for path, node in nnx.iter_graph(module):
        if isinstance(node, nnx.Variable):
            names.setdefault(id(node), "/".join(map(str, path)))
    return names


def _is_parameter(path, variable) -> bool:
    del path
    leaves = jax.tree.leaves(variable, is_leaf=is_compressed)
    floating = any(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves)
    return floating and not isinstance(variable, nnx.Intermediate)


def _no_module(caller: str, params: Params) -> Params:
    if isinstance(params, nnx.Module):
        raise TypeError(f"nnx: {caller}(params={type(params).__name__}) is a module. {OWN}")
    return params


def _merge(graphdef: nnx.GraphDef, params: Params, rest: PyTree) -> nnx.Module:
    """A module with variables of its own: a call would write to those of the state."""
    return nnx.merge(graphdef, _copied(params), _copied(rest))


def _copied(state: PyTree) -> PyTree:
    """New variables of the same arrays, made at the trace level of the caller."""
    return jax.tree.map(lambda leaf: leaf, state, is_leaf=is_compressed)


def _reseeded(rest: PyTree, key: Key) -> PyTree:
    """Reseeds every random stream from `key` and its position in the tree."""
    leaves, structure = jax.tree.flatten(rest)
    fresh = [
        jax.random.split(jax.random.fold_in(key, index), leaf.shape)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else leaf
        for index, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, fresh)
