"""Bytes and speeds of every coder on the arrays of trained, pruned and coded models.

    python -m benchmarks.coders [--out DIR]

Beside them stand the order-0 entropy and zstandard at level 19 on the same packed bytes
(`pip install zstandard`; it is left out where it is not installed). One thread of the
processor that the record names; seconds are the least of three calls.
"""

import importlib.util
import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple

import ml_dtypes
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import lenets, runner
from jaxcompress.core.types import Params
from jaxcompress.storage.coders import BALANCED, CODERS, plain
from jaxcompress.storage.coders.words import Layout, Words
from jaxcompress.storage.container.dtypes import array_words
from jaxcompress.storage.sizes import entropy_bits

KEPT, EPOCHS, BATCH_SIZE, RATE = 0.034, 12, 100, 1.5e-3
"""Of the pruned LeNet-300-100."""

STEP = 0.5
"""Of its levels, in mean magnitudes of the kept weights of a layer."""

LARGE = 20_000_000
"""Words of the arrays that speed is measured on."""

SLOW = 1 << 21
"""Words above which only fast coders are measured."""


class Case(NamedTuple):
    """An array to code.

    Attributes:
      name: of it.
      words: its numbers.
    """

    name: str
    words: Words


def pruned_params(data: pathlib.Path) -> Params:
    """LeNet-300-100, of whose weights few are left, trained on MNIST."""
    images = lenets.splits(data, 0).train
    steps = EPOCHS * (len(images) // BATCH_SIZE)
    end = int(0.7 * steps)
    optimizer = jc.prune.prune(
        optax.adam(optax.cosine_decay_schedule(RATE, steps)),
        jc.prune.criteria.magnitude(),
        jc.prune.Target(
            jc.schedules.cubic(0.0, 1 - KEPT, begin=0, end=end),
            allocate=jc.prune.allocations.globally,
        ),
        when=jc.schedules.every(50, end=end),
    )
    objective = lenets.cross_entropy(lenets.perceptron)
    sizes = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "border": 0, "seed": 0}
    return lenets.trained(objective, lenets.initial_perceptron(0), optimizer, images, **sizes)[0]


def levels(weights: np.ndarray) -> np.ndarray:
    """The weights as whole numbers of one step; what was kept stays other than 0."""
    step = STEP * np.mean(np.abs(weights[weights != 0]))
    whole = np.clip(np.round(weights / step), -7, 7)
    return np.where((weights != 0) & (whole == 0), np.sign(weights), whole).astype(int)


def codes(values: np.ndarray, bits: int) -> Words:
    """Integers as the words of a matrix with inputs first."""
    words = (values % 2**bits).astype(np.uint8).reshape(-1)
    return Words(words, Layout(bits, values.shape))


def of_lenet(data: pathlib.Path) -> list[Case]:
    """The layers of a pruned LeNet-300-100: levels, masks, weights and biases."""
    cases = []
    for name, (kernel, bias) in pruned_params(data).items():
        kernel = np.asarray(kernel)
        cases += [
            Case(f"LeNet-300-100 {name}, levels", codes(levels(kernel), 4)),
            Case(f"LeNet-300-100 {name}, mask", codes((kernel != 0).astype(int), 1)),
            Case(f"LeNet-300-100 {name}, float32", array_words(kernel)),
            Case(f"LeNet-300-100 {name}, biases", array_words(np.asarray(bias))),
        ]
    return cases


def of_normal() -> list[Case]:
    """Large arrays of normal numbers: codes of 4 and 8 bits, sparse codes, and floats.

    Their numbers do not depend on each other: no coder can go below the entropy.
    """
    random = np.random.default_rng(0)
    numbers = random.standard_normal(LARGE, np.float32)
    sparse = np.where(random.random(LARGE, np.float32) < 0.1, numbers, 0)
    four, eight = np.clip(np.round(2 * numbers), -7, 7), np.clip(np.round(30 * numbers), -127, 127)
    few = np.clip(np.round(4 * sparse), -7, 7)
    return [
        Case("normal, 4 bits", codes(four, 4)),
        Case("normal, 1 million, 4 bits", codes(four[: 10**6].reshape(1000, -1), 4)),
        Case("normal, 8 bits", codes(eight, 8)),
        Case("normal, 90 % zeros, 4 bits", codes(few, 4)),
        Case("normal, bfloat16", array_words(numbers.astype(ml_dtypes.bfloat16))),
        Case("normal, 1 million, float32", array_words(numbers[: 10**6])),
    ]


def of_structured() -> list[Case]:
    """Sparse codes of 4 bits whose zeros lie in blocks, or whose columns differ."""
    random = np.random.default_rng(0)
    numbers = np.clip(np.round(4 * random.standard_normal((2000, 2000), np.float32)), -7, 7)
    blocks = np.kron(random.random((125, 125)) < 0.1, np.ones((16, 16), bool))
    kept = np.exp(random.normal(-3, 1.2, 2000)).clip(0, 1)
    columns = random.random((2000, 2000)) < kept
    return [
        Case("normal, 10 % of 16 × 16 blocks, 4 bits", codes(np.where(blocks, numbers, 0), 4)),
        Case("normal, sparse columns that differ, 4 bits", codes(np.where(columns, numbers, 0), 4)),
    ]


def seconds(call: Callable[[], object]) -> float:
    """The least of three calls, of this thread."""
    found = []
    for _ in range(3):
        begin = time.thread_time()
        call()
        found.append(time.thread_time() - begin)
    return min(found)


def measure(words: Words) -> dict[str, dict[str, float | None]]:
    """Bytes of every coder that codes such words, and seconds of both ways."""
    found: dict[str, dict[str, float | None]] = {
        "entropy": {"bytes": entropy_bits(words.values) / 8}
    }
    for coder in CODERS:
        slow = coder not in BALANCED and words.values.size > SLOW
        if coder.fits(words.layout) and not slow:
            coded = coder.encode(words)
            np.testing.assert_array_equal(coder.decode(coded, words.layout), words.values)
            found[coder.name] = {
                "bytes": coded.size,
                "encoding_seconds": seconds(lambda: coder.encode(words)),  # noqa: B023
                "decoding_seconds": seconds(lambda: coder.decode(coded, words.layout)),  # noqa: B023
            }
    return found | zstandard_19(plain.encode(words).tobytes())


def zstandard_19(packed: bytes) -> dict[str, dict[str, float | None]]:
    """The same of zstandard, where it is installed."""
    if importlib.util.find_spec("zstandard") is None:
        return {}
    zstandard = importlib.import_module("zstandard")
    begin = time.thread_time()
    coded = zstandard.ZstdCompressor(level=19).compress(packed)
    encoding = time.thread_time() - begin
    decoder = zstandard.ZstdDecompressor()
    return {
        "zstandard 19": {
            "bytes": len(coded),
            "encoding_seconds": encoding,
            "decoding_seconds": seconds(lambda: decoder.decompress(coded)),
        }
    }


def table(case: Case, figures: dict[str, dict[str, float | None]]) -> str:
    """The figures of an array as lines."""
    count = case.words.values.size
    lines = [f"{case.name}: {count:,} words"]
    for name, row in figures.items():
        speeds = [
            f"{way} {count / 1e6 / taken:8.2f}" if (taken := row.get(f"{way}_seconds")) else ""
            for way in ("encoding", "decoding")
        ]
        lines.append(f"  {name:16s}{row['bytes']:>14,.0f} bytes  {'  '.join(speeds)} M words/s")
    return "\n".join(lines)


def main() -> None:
    """Measures what has no record yet and prints it."""
    options = runner.arguments((__doc__ or "").partition("\n")[0]).parse_args()
    for case in (*of_structured(), *of_lenet(options.data), *of_normal()):
        found = runner.record(
            "coders",
            lambda case=case: measure(case.words),
            settings={"array": case.name, "words": case.words.values.size},
            seed=0,
            out=options.out,
        )
        print(table(case, found["figures"]))


if __name__ == "__main__":
    main()
