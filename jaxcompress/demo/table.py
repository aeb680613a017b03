"""The table that the demo prints."""

import jax

from jaxcompress import report
from jaxcompress.core.report import signed
from jaxcompress.demo.proof import LATENCY_BATCHES
from jaxcompress.demo.results import Results
from jaxcompress.demo.variants import Variant
from jaxcompress.report import Column, Table

COLUMNS = (
    Column("model", "model"),
    Column("file", "file, bytes", ",d"),
    Column("smaller", "times smaller", ".1f"),
    Column("memory", "memory, bytes", ",d"),
    Column("peak", "peak, bytes", ",d"),
    Column("accuracy", "accuracy, % [95 %]"),
    Column("difference", "difference, points [95 %]"),
    Column("p", "McNemar p", ".2g"),
    *(Column(f"ms {batch}", f"batch {batch}, ms", ".3f") for batch in LATENCY_BATCHES),
    Column("verdict", "verdict"),
)


def results_table(results: Results, title: str) -> Table:
    """All figures of every variant, and remarks on them."""
    rows = [_row(variant, results) for variant in results.variants]
    return report.table(rows, columns=COLUMNS, title=title, captions=captions(results))


def captions(results: Results) -> list[str]:
    """Notes that explain the figures, and what was not compressed."""
    worst = next(row for row in results.sensitivities if not row.reason)
    change = signed(worst.loss_increase, "+.4f")
    return [
        results.identity,
        "Files are compared with that of the dense model; peak is that of a call on 64 images, "
        "where codes become arrays.",
        f"Times are medians of interleaved calls on {jax.devices()[0].device_kind}; sites where "
        "integers were measured to be slower run on arrays held in memory.",
        f"Most sensitive layer: {worst.name}, whose rounding to 4 bits alone changes the "
        f"validation loss by {change} nats.",
        *(_stages(name, counts) for name, counts in results.stages.items()),
        *(
            f"Not compressed ({reason}): {', '.join(names)}."
            for reason, names in results.left_out.items()
        ),
    ]


def _row(variant: Variant, results: Results) -> dict:
    proof, dense = results.proofs[variant.name], results.proofs["dense"]
    comparison, (low, high) = proof.comparison, proof.evaluation["accuracy"].interval()
    against = variant.name != "dense"
    change, below, above = (
        signed(100 * each, "+.2f")
        for each in (comparison.accuracy_difference, *comparison.accuracy_interval)
    )
    times = {
        f"ms {batch}": 1e3 * timing[variant.name].median_seconds
        for batch, timing in results.timings.items()
    }
    return {
        "model": variant.name,
        "file": proof.file_bytes,
        "smaller": dense.file_bytes / proof.file_bytes,
        "memory": proof.size.memory,
        "peak": proof.peak_bytes,
        "accuracy": f"{100 * proof.evaluation.accuracy:.2f} [{100 * low:.2f}, {100 * high:.2f}]",
        "difference": f"{change} [{below}, {above}]" if against else None,
        "p": comparison.mcnemar_p if against else None,
        "verdict": comparison.verdict if against else "the reference",
        **times,
    }


def _stages(name: str, counts: dict[str, int]) -> str:
    told = ", ".join(f"{stage} {count:,}" for stage, count in counts.items())
    return f"Bytes of {name}, stage by stage: {told}."
