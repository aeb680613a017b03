"""Measures each variant: bytes, memory, accuracy, a paired test, latency."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress import graph, quantize, storage
from jaxcompress.core.names import named_leaves
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.timing import Timing, interleaved
from jaxcompress.core.types import PyTree
from jaxcompress.demo.data import Images
from jaxcompress.demo.variants import BATCH, Shipped, Variant
from jaxcompress.storage import Size
from jaxcompress.validate import Comparison, Evaluation, compare, evaluate

LATENCY_BATCHES = (1, 64)
ROUNDS = 40


@dataclasses.dataclass(frozen=True)
class Proof:
    """The figures of one variant; times are not among them, since they do not repeat.

    Attributes:
      parameters: numbers the model stores, statistics included.
      size: dense, memory, disk and entropy bytes.
      file_bytes: of the file as it lies on disk.
      stage_bytes: of the files that the stages before would give, without entropy
        coding, by name.
      peak_bytes: of one call on 64 images, by XLA's own analysis.
      evaluation: on the test images.
      comparison: with the dense model, on the same images.
    """

    parameters: int
    size: Size
    file_bytes: int
    stage_bytes: dict[str, int]
    peak_bytes: int | None
    evaluation: Evaluation
    comparison: Comparison

    def to_json(self) -> dict[str, Any]:
        """The figures without the answers to single images."""
        return {
            "parameters": self.parameters,
            "size": dataclasses.asdict(self.size),
            "file_bytes": self.file_bytes,
            "stage_bytes": self.stage_bytes,
            "peak_bytes": self.peak_bytes,
            "accuracy": self.evaluation.accuracy,
            "accuracy_interval": list(self.evaluation["accuracy"].interval()),
            "mean_loss": self.evaluation.mean_loss,
            "comparison": self.comparison.to_json(),
        }


def file_tree(shipped: Shipped) -> PyTree:
    """What is written to the file: plain containers, which any process can read."""
    ranges = {site: dict(reading._asdict()) for site, reading in shipped.ranges.items()}
    return {"params": named_leaves(shipped.params), "ranges": ranges}


def judged(variant: Variant, test: Images) -> Evaluation:
    """The variant's answers on the test images."""
    return evaluate(variant.fn, variant.shipped.params, test.images, test.labels, batch_size=BATCH)


def prove(variant: Variant, dense: Evaluation, test: Images, folder: pathlib.Path) -> Proof:
    """Saves the variant and measures everything about it but time.

    Args:
      variant: what to judge.
      dense: the dense model's answers on `test`.
      test: the test images.
      folder: where the file goes.

    Returns:
      Proof.
    """
    tree = file_tree(variant.shipped)
    evaluation = judged(variant, test)
    return Proof(
        parameters=sum(leaf.size for leaf in tree["params"].values()),
        size=storage.size(tree, coders=variant.coders),
        file_bytes=storage.save(folder / variant.file_name, tree, coders=variant.coders),
        stage_bytes={
            stage: storage.size(file_tree(Shipped(params, {}))).disk
            for stage, params in variant.before.items()
        },
        peak_bytes=graph.compiled(variant.fn, variant.shipped.params, test.images[:64]).peak_bytes,
        evaluation=evaluation,
        comparison=compare(dense, evaluation),
    )


def latency(variants: list[Variant], images: np.ndarray) -> dict[int, dict[str, Timing]]:
    """Median time of one call at batch 1 and 64, all variants in turn.

    Quantized variants run as `quantize.plan_execution` decides: on integers where that
    was measured to be faster here, else on arrays held in memory.

    Args:
      variants: the first is the reference.
      images: at least 64 of them.

    Returns:
      Timing per variant name, per batch size.
    """
    timings = {}
    for batch in LATENCY_BATCHES:
        x, plans = jnp.asarray(images[:batch]), {}
        calls = {variant.name: _call(variant, x, plans) for variant in variants}
        timings[batch] = interleaved(calls, repeats=ROUNDS)
    return timings


def _call(variant: Variant, x: jax.Array, plans: dict[Any, Any]) -> Callable[[], jax.Array]:
    """One call as it would run; `plans` keeps what was planned for equal forms."""
    fn, params = variant.model.fn, variant.shipped.params
    if any(isinstance(leaf, QTensor) for leaf in named_leaves(params).values()):
        form = variant.architecture, jax.tree.structure(params)
        if form not in plans:
            plans[form] = quantize.plan_execution(fn, params, x)
        fn, params = quantize.run(fn, plans[form]), plans[form].hold(params)
    compiled = jax.jit(fn)
    return lambda: compiled(params, x)
