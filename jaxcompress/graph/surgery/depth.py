"""Models without some residual blocks, or without some layers of their stacks."""

from collections.abc import Mapping, Sequence

from jaxcompress.core.kinds import check_each, check_mapping, check_text
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.surgery.blocks import bypassed
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.graph.surgery.shrink import shrunk_by
from jaxcompress.graph.surgery.stacks import shortened
from jaxcompress.graph.surgery.walk import couple


def without_blocks(
    fn: Model, params: Params, names: Sequence[str], *inputs: PyTree
) -> tuple[Model, Removal]:
    """The model without some residual blocks, and the leaves that it no longer reads.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays or shapes.
      names: of the blocks, as `residual_blocks` gives them.
      inputs: trees of arrays or shapes.

    Returns:
      (model, removal): the model takes params as `slice_params(params, removal)` gives
      them, in which leaves that nothing reads are empty along axis 0.

    Raises:
      ValueError: no block has such a name.

    Example:
      >>> fn = lambda params, x: x + x @ params["kernel"]
      >>> params, x = {"kernel": jnp.eye(2)}, jnp.ones((1, 2))
      >>> model, removal = jc.graph.surgery.without_blocks(fn, params, ["kernel"], x)
      >>> model(jc.graph.surgery.slice_params(params, removal), x)
      Array([[1., 1.]], dtype=float32)
    """
    check_call("without_blocks", fn, params, inputs)
    check_each("without_blocks", "names", names, check_text)
    smaller = bypassed("without_blocks", couple(fn, params, *inputs), names)
    removal = Removal(smaller.cuts, blocks=tuple(names))
    return shrunk_by("without_blocks", fn, removal), removal


def without_layers(
    fn: Model, params: Params, layers: Mapping[str, Sequence[int]], *inputs: PyTree
) -> tuple[Model, Removal]:
    """The model without some layers, and the rows that its stacked leaves lose.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: tree of arrays or shapes.
      layers: by stack name, the layers that go.
      inputs: trees of arrays or shapes.

    Returns:
      (model, removal): the model takes params as `slice_params(params, removal)` gives
      them.

    Raises:
      ValueError: no stack has such a name, or too few layers.

    Example:
      >>> def fn(params, x):
      ...     return jax.lax.scan(lambda x, w: (x + w, None), x, params["layers"])[0]
      >>> params, x = {"layers": jnp.array([[1.0], [2.0], [4.0]])}, jnp.zeros(1)
      >>> layers = {"layers": [1]}
      >>> model, removal = jc.graph.surgery.without_layers(fn, params, layers, x)
      >>> model(jc.graph.surgery.slice_params(params, removal), x)
      Array([5.], dtype=float32)
    """
    check_call("without_layers", fn, params, inputs)
    check_mapping("without_layers", "layers", layers, "Give layers by the name of their stack.")
    smaller = shortened("without_layers", couple(fn, params, *inputs), layers)
    gone = tuple((name, tuple(sorted(each))) for name, each in layers.items() if len(each))
    removal = Removal(smaller.cuts, layers=gone)
    return shrunk_by("without_layers", fn, removal), removal
