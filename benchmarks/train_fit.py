"""Does `train.fit` cost anything beside a loop written by hand?

    python -m benchmarks.train_fit --data DIR

LeNet-300-100 on MNIST under Adam: the same number of steps by `fit` and by a jitted
step in a Python loop, which draws a permutation for each epoch, gathers rows and gives
its buffers away. Both are compiled before; a call is everything else, from the copy of
the params to the losses as numbers. Beside the clock's time stands the processor's, of
all threads, which other processes on the machine do not change.
"""

import functools
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import lenets, runner

STEPS, ROUNDS = 300, 7


def main() -> None:
    """Measures each batch size and each place of the examples once."""
    options = runner.arguments((__doc__ or "").partition("\n")[0]).parse_args()
    for batch in (32, 128):
        for held in ("host", "device"):
            run = runner.record(
                "train_fit",
                functools.partial(measure, options.data, batch, held),
                settings={"net": "LeNet-300-100", "steps": STEPS, "batch": batch, "held": held},
                seed=0,
                out=options.out,
            )
            print(run["settings"], run["figures"])


def measure(data: pathlib.Path, batch: int, held: str) -> dict[str, Any]:
    """Milliseconds of a step of each way to train, and how they compare.

    Args:
      data: folder of data sets.
      batch: examples per step.
      held: where the examples lie, "host" or "device".
    """
    images = lenets.splits(data, 0).train
    examples = images.images, images.labels
    if held == "device":
        examples = jax.device_put(examples)
    calls = {
        "by hand": by_hand(examples, batch),
        "fit": fitted(examples, batch, None),
        "fit, chunks of 50": fitted(examples, batch, 50),
    }
    found = {name: [] for name in calls}
    for count in range(ROUNDS + 1):
        for name, call in calls.items():
            begin = time.perf_counter(), time.process_time()
            jax.block_until_ready(call())
            end = time.perf_counter(), time.process_time()
            if count:  # the first round compiles
                found[name].append([1e3 * (b - a) / STEPS for a, b in zip(begin, end, strict=True)])
    clock, processor = ({n: sorted(row[i] for row in found[n]) for n in found} for i in (0, 1))
    return {
        name: {
            "processor_milliseconds_per_step": statistics.median(processor[name]),
            "least_processor_milliseconds_per_step": processor[name][0],
            "clock_milliseconds_per_step": statistics.median(clock[name]),
            "least_clock_milliseconds_per_step": clock[name][0],
        }
        for name in calls
    }


def fitted(examples: tuple, batch: int, chunk: int | None) -> Callable[[], Any]:
    """A run of `fit`."""
    objective = jc.train.objectives.supervised(lenets.perceptron, jc.distill.outputs.hard_targets)
    recipe = jc.train.Recipe(objective, optax.adam(1e-3))
    plan = jc.train.Plan(STEPS, batch, chunk=chunk)
    params = lenets.initial_perceptron(0)
    return lambda: jc.train.fit(recipe, params, examples, plan).params


def by_hand(examples: tuple, batch: int) -> Callable[[], Any]:
    """The loop that most would write."""
    optimizer, params = optax.adam(1e-3), lenets.initial_perceptron(0)
    n = len(examples[0])

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, opt_state, rows):
        def loss(params):
            x, labels = rows
            return jc.distill.outputs.hard_targets(lenets.perceptron(params, x), labels).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    gather = jax.jit(lambda examples, index: jax.tree.map(lambda array: array[index], examples))
    on_device = isinstance(examples[0], jax.Array)

    def run():
        trained = jax.tree.map(lambda leaf: leaf.copy(), params)
        opt_state, generator, losses = optimizer.init(trained), np.random.default_rng(0), []
        order = np.zeros(0, int)
        for _ in range(STEPS):
            if len(order) < batch:
                order = generator.permutation(n)
            index, order = order[:batch], order[batch:]
            rows = gather(examples, index) if on_device else [array[index] for array in examples]
            trained, opt_state, loss = step(trained, opt_state, rows)
            losses.append(loss)
        return trained, np.asarray(jax.device_get(losses))

    return run


if __name__ == "__main__":
    main()
