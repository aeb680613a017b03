"""Scores residual blocks and layers by ablation: the loss without each, measured."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.batches import as_pairs
from jaxcompress.core.observers import Reading
from jaxcompress.core.types import Array, Loss, Model, Params, PyTree
from jaxcompress.graph.surgery.blocks import residual_blocks, with_block_gates
from jaxcompress.graph.surgery.stacks import stacks, with_layer_gates
from jaxcompress.structure.importance.batches import (
    Batches,
    average,
    check_judged,
    number_of_examples,
    per_example,
)

DepthScores = Mapping[str, Array | Reading]
"""By name of a residual block a float32 number (), or by name of a stack (length,), the
higher the more it is worth. A `Reading` also counts the examples that reached each; of
a block or layer that none reached, nothing is known."""

DepthImportance = Callable[..., DepthScores]
"""(fn, params, *inputs) to scores."""


def exact_blocks(loss: Loss, batches: Batches) -> DepthImportance:
    """Scores each residual block by how much the mean loss rises without it alone.

    Not for: blocks that stand in for each other, since each is left out alone; call
    `remove_blocks` with a count of 1 and score again.

        score_n = L(model without block n) - L(model)

    Also known as: block ablation, lesion study.

    Args:
      loss: (outputs, targets) to one number per example, or a `BatchLoss`.
      batches: (inputs, targets) pairs, as for `exact`.

    Returns:
      DepthImportance of `Reading`s; a score is negative where the model does better
      without the block, and counts are 0 where no outputs change without it.

    Raises:
      ValueError: there is no batch; when applied: the loss is not one number per
        example.

    Source: Veit et al. 2016, arXiv:1605.06431, section 4.1, deletes single blocks.
    """
    check_judged("exact_blocks", loss, batches)
    batches = as_pairs("exact_blocks", batches)

    def importance(fn: Model, params: Params, *inputs) -> DepthScores:
        program = with_block_gates(fn)
        names = [block.name for block in residual_blocks(fn, params, *inputs)]

        def measure(params, inputs, targets):
            rise = _rise("exact_blocks", loss, fn(params, *inputs), targets)

            def without(index):
                gates = {name: index != i for i, name in enumerate(names)}
                return rise(program(params, *inputs, gates=gates))

            return jax.lax.map(without, jnp.arange(len(names)))

        found = average("exact_blocks", loss, measure, params, batches)
        reading = _counted(found, loss, batches)
        return {
            name: Reading(reading.value[index], reading.count[index])
            for index, name in enumerate(names)
        }

    return importance


def exact_layers(loss: Loss, batches: Batches) -> DepthImportance:
    """Scores each layer by how much the mean loss rises when it alone is left out.

    Not for: layers that stand in for each other, since each is left out alone; call
    `remove_layers` with a count of 1 and score again.

        score_n = L(model without layer n) - L(model)

    Also known as: layer ablation, layer dropping, depth pruning.

    Args:
      loss: (outputs, targets) to one number per example, or a `BatchLoss`.
      batches: (inputs, targets) pairs, as for `exact`.

    Returns:
      DepthImportance of `Reading`s; a score is negative where the model does better
      without the layer, and counts are 0 where no outputs change without it.

    Raises:
      ValueError: there is no batch; when applied: the loss is not one number per
        example.

    Source: Mozer and Smolensky 1989, "Skeletonization", for blocks instead of units.
    """
    check_judged("exact_layers", loss, batches)
    batches = as_pairs("exact_layers", batches)

    def importance(fn: Model, params: Params, *inputs) -> DepthScores:
        program = with_layer_gates(fn)
        lengths = {stack.name: stack.length for stack in stacks(fn, params, *inputs).found}

        def measure(params, inputs, targets):
            rise = _rise("exact_layers", loss, fn(params, *inputs), targets)

            def without(name, layer):
                gates = {name: jnp.arange(lengths[name]) != layer}
                return rise(program(params, *inputs, gates=gates))

            return {
                name: jax.lax.map(lambda layer, name=name: without(name, layer), jnp.arange(length))
                for name, length in lengths.items()
            }

        found = average("exact_layers", loss, measure, params, batches)
        return {name: _counted(each, loss, batches) for name, each in found.items()}

    return importance


def _rise(caller: str, loss: Loss, outputs: PyTree, targets) -> Callable[..., Any]:
    """Maps another model's outputs to the mean rise of loss, and if they differ."""
    before = per_example(caller, loss, outputs, targets)

    def rise(others: PyTree) -> tuple[Array, Array]:
        losses = per_example(caller, loss, others, targets)
        pairs = zip(jax.tree.leaves(outputs), jax.tree.leaves(others), strict=True)
        differs = jnp.stack([jnp.any(one != other) for one, other in pairs]).any()
        return jnp.mean(losses - before), differs.astype(jnp.float32)

    return rise


def _counted(found: tuple[Array, Array], loss: Loss, batches: list[Any]) -> Reading:
    """Mean rises, and how many examples are in batches whose outputs differ."""
    rises, share = found
    counts = np.round(np.asarray(share) * number_of_examples(loss, batches)).astype(np.int32)
    return Reading(rises, jax.device_put(counts))
