"""LoRA: a product of two thin factors, trained beside each frozen weight."""

from typing import Any

from jaxcompress.adapt.adapter import Adapter
from jaxcompress.adapt.leaves import Adapted
from jaxcompress.adapt.places import Ranks
from jaxcompress.adapt.scales import Scale
from jaxcompress.adapt.starts import Begun, Start
from jaxcompress.adapt.technique import Delta, Form, checked, technique
from jaxcompress.core.axes import Axes, LeafAxes
from jaxcompress.core.corrected import Corrected
from jaxcompress.core.leaf import CompressedLeaf
from jaxcompress.core.numerics import narrowed
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.types import Array, Masks, Selector


def lora(
    rank: Ranks,
    start: Start,
    *,
    alpha: float | Scale = 16.0,
    axes: Axes | None = None,
    select: Selector | None = None,
    masks: Masks | None = None,
) -> Adapter:
    """Fine-tunes a model by a low-rank sum for each weight; the weights stay frozen.

    Not for: the lowest loss at any size: fine-tuning all weights ends lower.

        W' = W + scale · left · right,   scale = alpha / rank

    The weights may be floats, or codes of any format: then nothing but the codes and
    the adapters is held. Layers of a scan get an adapter each, and so do convolutions
    and tables that are looked up. Gradients go to the adapters:

        grads = jax.grad(lambda each: loss(technique.view(params, each)))(adapters)
        d left = scale · dW' · rightᵀ,   d right = scale · leftᵀ · dW'

    `adapt.run` computes the same in two thin products, without W' and dW'.

    With masks, what is merged is what was trained, and pruned weights are exactly 0; a
    leaf with a mask is formed whole, also by `run`, and shipped as an array. Without
    them the sum fills what was pruned.

    Also known as: LoRA, low-rank adaptation, PEFT; on codes QLoRA; with `over_root`
    rsLoRA.

    Args:
      rank: of the factors, at most the smaller side of the matrix; or rules over the
        names of the selected leaves. A leaf without a rule gets no adapter.
      start: what training begins with: one of `adapt.starts`.
      alpha: a number, to be divided by the rank, or a function from the rank to the
        scale, such as `adapt.over_root(16.0)`.
      axes: what `graph.axes` gave. Without it, the last axis of a weight is taken as
        its output, all others as contracting.
      select: which leaves; without it every weight that meets data.
      masks: which weights may change, for a pruned model.

    Returns:
      Adapter; {"left": (batch…, output…, rank), "right": (batch…, rank, contracting…)}
      of float32 for each leaf.

    Raises:
      TypeError: an argument is of another kind; when applied: a leaf that is asked for
        by name is no real floating one, or adapters hold other arrays.
      ValueError: a rank is below 1 or above what a matrix has, alpha is not above 0 and
        finite; when applied: no leaf is selected, or adapters or masks are not of these
        params.

    Example:
      >>> technique = jc.adapt.lora(1, jc.adapt.starts.random(jax.random.key(0)))
      >>> params, _ = jc.quantize.quantize({"w": jnp.eye(2)}, jc.quantize.formats.nf4())
      >>> adapters = technique.init(params)
      >>> technique.view(params, adapters)["w"]
      Corrected(nf4 per channel, rank=1, shape=(2, 2), dtype=float32)
      >>> loss = lambda adapters: technique.view(params, adapters)["w"].sum()
      >>> grads = jax.grad(loss)(adapters)["w"]
      >>> grads["left"].shape, grads["right"].tolist()
      ((2, 1), [[0.0, 0.0]])

    Source: Hu et al. 2021, arXiv:2106.09685, section 4.1; on codes Dettmers et al.
    2023, arXiv:2305.14314, section 3. Differs: any leaf of any program, no dropout.
    """
    options = checked("lora", rank, start, alpha, axes, select)._replace(masks=masks)
    return technique("lora", options, Form(("left", "right"), _begin, _shown, _apart))


def _begin(begun: Begun, axes: LeafAxes) -> dict[str, Array]:
    del axes
    return {"left": begun.left, "right": begun.right}


def _shown(leaf, arrays: dict[str, Array], delta: Delta) -> Any:
    if isinstance(leaf, QTensor) and delta.whole:
        return _apart(leaf, arrays, delta)
    return narrowed(delta.added_to(leaf), leaf.dtype)


def _apart(leaf, arrays: dict[str, Array], delta: Delta) -> CompressedLeaf:
    del arrays
    if isinstance(leaf, QTensor):
        return Corrected.from_parts(leaf, delta.product, dtype=leaf.dtype)
    return Adapted(leaf, delta.product, leaf.dtype)
