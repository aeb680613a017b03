"""What each leaf costs when it alone is compressed; choosing is for a solver."""

from functools import partial
from typing import NamedTuple

import jax
from jax.typing import ArrayLike

from jaxcompress.core.axes import Axes
from jaxcompress.core.names import leaf_names
from jaxcompress.core.selectors import weights
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Model, Params, PyTree, Selector
from jaxcompress.quantize import quantize
from jaxcompress.validate import evaluate


class LeafSensitivity(NamedTuple):
    """The price of compressing one leaf.

    Fields:
      name: the leaf.
      loss_increase: mean loss with this leaf alone compressed minus mean loss without,
        in nats.
      accuracy_change: the same for accuracy, a fraction; negative is worse.
    """

    name: str
    loss_increase: float
    accuracy_change: float


def sensitivity(
    fn: Model,
    params: Params,
    spec: QuantSpec,
    inputs: PyTree,
    labels: ArrayLike,
    *,
    axes: Axes | None = None,
    select: Selector | None = None,
    ignore: int | None = None,
    batch_size: int = 256,
) -> list[LeafSensitivity]:
    """How much the loss rises with one leaf quantized at a time, most sensitive first.

    Args:
      fn: classifier in evaluation mode, `fn(params, inputs) -> logits` (n, classes).
      params: tree of arrays.
      spec: the format each leaf is tried in.
      inputs: held-out examples, first axis n; not the test set, since choices follow
        from this.
      labels: (n,) integer in [0, classes).
      axes: what `graph.axes` found; without it the layout default.
      select: leaves to try; the default is every weight.
      ignore: the label of examples to leave out, as `evaluate` does.
      batch_size: examples per call.

    Returns:
      One row per selected leaf, by falling loss increase.

    Raises:
      ValueError: no leaf is selected; and what `quantize` and `evaluate` raise.

    Example:
      >>> fn = lambda params, x: x @ params["a"] @ params["b"]
      >>> params = {"a": jnp.eye(3), "b": jnp.eye(3)}
      >>> x, labels = jnp.eye(3), jnp.arange(3)
      >>> rows = jc.auto.sensitivity(fn, params, jc.quantize.int4(), x, labels)
      >>> [row.loss_increase for row in rows]
      [0.0, 0.0]

    Source: the layer-wise scan of Dong et al. 2019, arXiv:1905.03696, with the exact
    loss difference in place of the Hessian's estimate.
    """
    selected = (select or weights(axes))(params)
    names = [
        name
        for name, chosen in zip(
            jax.tree.leaves(leaf_names(params)), jax.tree.leaves(selected), strict=True
        )
        if chosen
    ]
    if not names:
        raise ValueError("sensitivity(select=...) selects no leaf of these params.")
    judged = partial(
        evaluate, fn, inputs=inputs, labels=labels, ignore=ignore, batch_size=batch_size
    )
    reference = judged(params)
    rows = []
    for name in names:
        compressed, _ = quantize(params, spec, axes=axes, select=_only(name))
        candidate = judged(compressed)
        rows.append(
            LeafSensitivity(
                name,
                candidate.mean_loss - reference.mean_loss,
                candidate.accuracy - reference.accuracy,
            )
        )
    return sorted(rows, key=lambda row: -row.loss_increase)


def _only(name: str) -> Selector:
    return lambda params: jax.tree.map(lambda other: other == name, leaf_names(params))
