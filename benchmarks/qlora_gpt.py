"""Fine-tuning a transformer in 4 bits by adapters, beside fine-tuning it whole.

    python -m benchmarks.qlora_gpt [--data DIR] [--seeds 0 1 2] [--trained DIR]

The character transformer of `benchmarks.one_shot_gpt`, trained on tiny Shakespeare, is
fine-tuned on the training text of WikiText-2 in Shakespeare's 65 characters. Whole; by
LoRA on the float model; and by LoRA on a model whose matrices have codes of 4 bits
(QLoRA: nf4 in groups of 64, scales in codes, too). Steps, batches and schedule are the
same; rates were chosen on validation text with seed 0, among three or four. The
share is that of the fall in test loss that fine-tuning the whole model brings, from the
float model before. The test windows are opened once per seed.
"""

import argparse
import functools
import gzip
import pathlib
import re
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

import jaxcompress as jc
from benchmarks import runner
from benchmarks.one_shot_gpt import trained
from benchmarks.quantized_gpt import of_matrices
from benchmarks.shakespeare import CONTEXT, Text, batch, gpt, windows
from jaxcompress.core.types import Array, Model, Params, PyTree

SEEDS, STEPS, BATCH, JUDGED, WARM_UP = (0, 1, 2), 100, 12, 256, 10
RANK, ALPHA, PENALTY = 8, 16.0, 1e-3
NF4 = jc.quantize.formats.nf4(group_size=64, scales="codes")


class Subject(NamedTuple):
    """What is trained, and the model made of it.

    Attributes:
      base: params that stay as they are.
      start: what the optimizer moves, first.
      answers: (base, moved, codes) to logits, in training.
      shipped: (base, moved) to the params that are judged.
    """

    base: Params
    start: PyTree
    answers: Callable[[Params, PyTree, Array], Array]
    shipped: Callable[[Params, PyTree], Params]


def whole(params: Params, seed: int) -> Subject:
    """Every parameter is trained."""
    del seed
    return Subject(params, params, lambda base, moved, x: gpt(moved, x), lambda base, moved: moved)


def adapted(base: Params, seed: int) -> Subject:
    """Adapters of every matrix, and of the table of characters."""
    axes = jc.graph.axes(jc.materialized(gpt), base, jnp.zeros((1, CONTEXT), jnp.int32))
    start = jc.adapt.starts.random(jax.random.key(seed))
    technique = jc.adapt.lora(RANK, start, alpha=ALPHA, axes=axes)
    model = jc.adapt.run(gpt)

    def answers(base: Params, moved: PyTree, x: Array) -> Array:
        return model(technique.apart(base, moved), x)

    return Subject(base, technique.init(base), answers, technique.freeze)


def adapted_codes(params: Params, seed: int) -> Subject:
    """Adapters beside codes of 4 bits."""
    axes = jc.graph.axes(gpt, params, jnp.zeros((1, CONTEXT), jnp.int32))
    base, _ = jc.quantize.quantize(params, of_matrices(NF4), axes=axes)
    return adapted(base, seed)


METHODS: dict[str, Callable[[Params, int], Subject]] = {
    "whole": whole,
    "lora": adapted,
    "qlora": adapted_codes,
}
RATES = {
    "whole": (1e-3, 2e-3, 4e-3),
    "lora": (4e-3, 8e-3, 1.6e-2, 3.2e-2),
    "qlora": (4e-3, 8e-3, 1.6e-2, 3.2e-2),
}


@functools.cache
def text(data: pathlib.Path) -> Text:
    """WikiText-2 in the characters of tiny Shakespeare, its own three parts.

    Marks inside of words become the characters they stand for; unknown words and all
    other characters are left out.
    """
    raw = np.frombuffer((data / "tinyshakespeare" / "input.txt").read_bytes(), np.uint8)
    alphabet = "".join(map(chr, np.unique(raw)))
    codes = {character: code for code, character in enumerate(alphabet)}

    def part(name: str) -> np.ndarray:
        path = data / "wikitext2" / f"{name}.txt.gz"
        words = gzip.decompress(path.read_bytes()).decode("utf-8")
        words = re.sub(r"@(.)@", r"\1", words).replace("<unk>", "")
        words = re.sub("[^" + re.escape(alphabet) + "]", "", words)
        words = re.sub(" +", " ", re.sub(r"\n\s*\n", "\n", words))
        return np.fromiter((codes[each] for each in words), np.int32, len(words))

    return Text(*map(part, ("train", "valid", "test")))


def loss(answers: Model, codes: Array) -> Array:
    """Mean cross-entropy of the next characters, in nats."""
    return jc.distill.outputs.hard_targets(answers(codes[:, :-1]), codes[:, 1:]).mean()


def tuned(subject: Subject, codes: Array, rate: float, seed: int) -> PyTree:
    """What the optimizer has moved after `STEPS` steps, by one program."""
    shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, WARM_UP, STEPS, 0.1)
    key = jax.random.key(seed)

    @jax.jit
    def advanced(base: Params, moved: PyTree, rate: Array) -> PyTree:
        optimizer = optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(lambda count: rate * shape(count), b2=0.99, weight_decay=PENALTY),
        )

        def step(carry, count):
            moved, state = carry
            drawn = batch(codes, BATCH, jax.random.fold_in(key, count))
            grads = jax.grad(
                lambda moved: loss(functools.partial(subject.answers, base, moved), drawn)
            )(moved)
            updates, state = optimizer.update(grads, state, moved)
            return (optax.apply_updates(moved, updates), state), None

        return jax.lax.scan(step, (moved, optimizer.init(moved)), jnp.arange(STEPS))[0][0]

    return advanced(subject.base, subject.start, jnp.float32(rate))


@jax.jit
def judged(params: Params, held_out: ArrayLike) -> Array:
    """The loss on windows, a batch at a time."""
    model = functools.partial(jc.materialized(gpt), params)
    return jax.lax.map(lambda each: loss(model, each), jnp.asarray(held_out)).mean()


@functools.cache
def finished(
    data: pathlib.Path, folder: pathlib.Path | None, method: str, rate: float, seed: int
) -> tuple[Subject, PyTree, float]:
    """What a run began with, what it moved, and its CPU seconds."""
    subject = METHODS[method](trained(data, seed, folder), seed)
    begin = time.process_time()
    codes = jnp.asarray(text(data).train)
    moved = jax.block_until_ready(tuned(subject, codes, rate, seed))
    return subject, moved, time.process_time() - begin


def measure(
    options: argparse.Namespace, method: str, rate: float, part: str, seed: int
) -> dict[str, Any]:
    """Losses before and after, and bytes trained and stored, of one run."""
    subject, moved, seconds = finished(options.data, options.trained, method, rate, seed)
    held_out = windows(getattr(text(options.data), part), JUDGED)
    judge = functools.partial(judged, held_out=held_out.reshape(-1, 64, CONTEXT + 1))
    after = float(judge(subject.shipped(subject.base, moved)))
    return {
        "float before": float(judge(trained(options.data, seed, options.trained))),
        "before": float(judge(subject.base)),
        "after": float(np.nan_to_num(after, nan=99.0)),
        "bytes trained": sum(leaf.nbytes for leaf in jax.tree.leaves(moved)),
        "file of the base": stored(subject.base),
        "file of what was trained": stored(moved),
        "cpu_seconds": seconds,
    }


def stored(tree: PyTree) -> int:
    """Bytes of a file of the tree."""
    with tempfile.TemporaryDirectory() as folder:
        return jc.storage.save(pathlib.Path(folder) / "tree.safetensors", tree)


def recorded(
    options: argparse.Namespace, method: str, rate: float, part: str, seed: int
) -> dict[str, Any]:
    """One run, from the file or anew."""
    settings = {
        "alpha": ALPHA,
        "base": "one_shot_gpt",
        "batch": BATCH,
        "judged": JUDGED,
        "method": method,
        "part": part,
        "rank": RANK,
        "rate": rate,
        "spec": str(NF4),
        "steps": STEPS,
        "warm_up": WARM_UP,
        "weight_decay": PENALTY,
    }
    run = functools.partial(measure, options, method, rate, part, seed)
    figures = runner.record("qlora_gpt", run, settings=settings, seed=seed, out=options.out)
    print(method, rate, part, seed, figures["figures"]["after"], flush=True)
    return figures["figures"]


def main() -> None:
    """Rates on validation text, then every seed on test text."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--trained", type=pathlib.Path, help="folder of trained params")
    options = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {}
    for method, rates in RATES.items():
        tried = {rate: recorded(options, method, rate, "validation", 0)["after"] for rate in rates}
        best = min(tried, key=tried.__getitem__)
        runs[method] = [recorded(options, method, best, "test", seed) for seed in options.seeds]
    for method, figures in runs.items():
        shares = [
            (each["float before"] - each["after"]) / (best["float before"] - best["after"])
            for each, best in zip(figures, runs["whole"], strict=True)
        ]
        before, after, share = (
            runner.summary(each)
            for each in (
                [each["before"] for each in figures],
                [each["after"] for each in figures],
                shares,
            )
        )
        told = f"{before.mean:.4f} before, {after.mean:.4f} ± {after.standard_error:.4f} after"
        sizes = [figures[0][name] for name in ("file of the base", "file of what was trained")]
        print(f"{method:6} {told}, share {share.mean:.3f} ± {share.standard_error:.3f}, {sizes}")


if __name__ == "__main__":
    main()
