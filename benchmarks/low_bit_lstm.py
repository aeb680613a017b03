"""What 4 bits cost a recurrent network when it is trained with learned steps.

    python -m benchmarks.low_bit_lstm [--data DIR] [--seeds 0 1 2]

The LSTM of `benchmarks.quantized_lstm` on tiny Shakespeare, trained in floats, then
trained on for a quarter of its steps with the steps of weights and of data learned
(LSQ). As a control the floats train on alike. The first matrix that characters select
rows from stays in floats. Test windows are opened once per seed; nothing was tuned.
"""

import argparse
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import jaxcompress as jc
from benchmarks import runner
from benchmarks.quantized_lstm import BATCH, JUDGED, STEPS, fitted, lstm, trained
from benchmarks.shakespeare import batch, text, windows
from jaxcompress.core.types import Array, Key, Model, Params, PyTree

TUNING, RATE = STEPS // 4, 1e-3
MATRICES = ("input", "hidden", "out")
quantize, training = jc.quantize, jc.quantize.training
INT4 = quantize.int4()


class Form(NamedTuple):
    """A model in training, and as it is shipped.

    Attributes:
      start: what is trained, from trained floats and windows of characters.
      model: (trained, codes) to logits.
      shipped: what is trained to the model and params that are shipped.
    """

    start: Callable[[Params, Array], PyTree]
    model: Callable[[PyTree, Array], Array]
    shipped: Callable[[PyTree], tuple[Model, Params]]


def weights_and_data(data: bool) -> Form:
    """Weights in 4 bits, and data too, with learned steps."""
    rules = jc.Rules(dict.fromkeys(MATRICES, INT4))
    technique = training.learned_steps(rules)
    of_data = jc.Rules(dict.fromkeys(MATRICES, training.data.learned_step(INT4)))
    seen = training.learned_activations(lstm, of_data)

    def start(params: Params, codes: Array) -> PyTree:
        weights = technique.init(params)
        return {
            "params": params,
            "weights": weights,
            "data": seen.init(technique.view(params, weights), codes) if data else {},
        }

    def model(trained: PyTree, codes: Array) -> Array:
        params = technique.view(trained["params"], trained["weights"])
        return seen.model(params, trained["data"], codes) if data else lstm(params, codes)

    def shipped(trained: PyTree) -> tuple[Model, Params]:
        fn = jc.materialized(lstm)
        if data:
            fn = quantize.fake_quantize_activations(fn, seen.freeze(trained["data"]))
        return fn, technique.freeze(trained["params"], trained["weights"])

    return Form(start, model, shipped)


FORMS = {
    "float, trained on": Form(lambda params, codes: params, lstm, lambda trained: (lstm, trained)),
    "W4": weights_and_data(data=False),
    "W4A4": weights_and_data(data=True),
}


def loss(model: Callable, trained: PyTree, codes: Array) -> Array:
    """Mean cross-entropy of the characters of windows, in nats: ()."""
    logits = model(trained, codes[:, :-1])
    return jc.distill.outputs.hard_targets(logits, codes[:, 1:]).mean()


def tuned(form: Form, start: PyTree, codes: Array, key: Key) -> PyTree:
    """What is trained, after the steps of tuning on windows at random."""
    objective = functools.partial(loss, form.model)
    return fitted(objective, start, codes, key, steps=TUNING, rate=RATE)


def measure(data: pathlib.Path, seed: int) -> dict[str, Any]:
    """Losses of the float model and of every form as it is shipped."""
    parts = text(data)
    codes = jnp.asarray(parts.train)
    dense = trained(codes, seed)
    models: dict[str, tuple[Model, Params]] = {"float": (lstm, dense)}
    for name, form in FORMS.items():
        start = form.start(dense, batch(codes, BATCH, jax.random.key(seed))[:, :-1])
        models[name] = form.shipped(tuned(form, start, codes, jax.random.key(100 + seed)))
    judged = {"validation": parts.validation, "test": parts.test}
    found = {
        part: {
            name: float(jax.jit(functools.partial(loss, fn))(params, windows(held_out, JUDGED)))
            for name, (fn, params) in models.items()
        }
        for part, held_out in judged.items()
    }
    sizes = {name: jc.storage.size(params).disk for name, (_, params) in models.items()}
    print(seed, found, sizes, flush=True)
    return {**found, "file_bytes": sizes}


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The records of all seeds, those that are there already as they are."""
    settings = {"steps": STEPS, "tuning": TUNING, "rate": RATE, "batch": BATCH, "judged": JUDGED}
    return [
        runner.record(
            "low_bit_lstm",
            functools.partial(measure, options.data, seed),
            settings=settings | {"forms": list(FORMS)},
            seed=seed,
            out=options.out,
        )
        for seed in options.seeds
    ]


def main() -> None:
    """Runs the seeds, then prints means."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    records = run(parser.parse_args())
    for part in ("validation", "test"):
        for name in records[0]["figures"][part]:
            found = runner.summary([record["figures"][part][name] for record in records])
            print(f"{part:10} {name:20} {found.mean:.4f} ± {found.standard_error:.4f}")


if __name__ == "__main__":
    main()
