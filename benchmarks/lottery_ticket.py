"""Lottery tickets: whether a part of a net, at its first weights, learns like all.

    python -m benchmarks.lottery_ticket run [--epochs 20] [--seeds 0 1 2] [--data DIR]
    python -m benchmarks.lottery_ticket show [--epochs 20]

LeNet-300-100 on MNIST loses a fifth of its weights in each round, a tenth in the output
layer, and what is left goes back to its first weights. In every fourth round the same
masks hold two controls, trained on the same batches: weights drawn anew, and the first
weights in random order. Training stops early where the validation loss is lowest, and
goes on for the next masks. No augmentation. The test images choose nothing.

Source: Frankle and Carbin 2019, arXiv:1803.03635, section 2.
"""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import lenets, runner
from jaxcompress.core.types import Array, Key, Masks, Params
from jaxcompress.demo.data import Splits

p = jc.prune

ROUNDS, LOST, LOST_OUTPUT = 16, 0.2, 0.1
CONTROLLED = 4
"""Every so many rounds controls train, too."""

EPOCHS, BATCH, RATE, EVERY = 6, 256, 2e-3, 107
CONTROLS = ("fresh", "shuffled")
NET = lenets.NETS["LeNet-300-100"]


def removed_by(turn: int) -> jc.Rules:
    """What is gone after so many rounds: half the share in the last layer."""
    return jc.Rules({"dense3*": 1 - (1 - LOST_OUTPUT) ** turn, "*": 1 - (1 - LOST) ** turn})


@jax.jit
def trained(starts: Params, masks: Masks, train, validation, orders: Array):
    """Trains several weights under the same masks, on the same batches.

    Args:
      starts: params with an axis in front that counts them.
      masks: of one of them.
      train, validation: images and labels.
      orders: (stretches, steps, batch) indices of images.

    Returns:
      The params at the end, those of the lowest validation loss, and by stretch and
      start the losses and errors on the validation images.
    """
    stacked = jax.tree.map(lambda mask: mask[None] if mask.ndim else mask, masks)
    optimizer = p.hold(optax.adam(RATE), stacked)

    def losses(params: Params, x: Array, labels: Array) -> Array:
        return jc.distill.outputs.hard_targets(NET.fn(params, x), labels).mean()

    def step(carry, index):
        params, opt_state = carry
        x, labels = train[0][index], train[1][index]
        grads = jax.vmap(jax.grad(losses), in_axes=(0, None, None))(params, x, labels)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    def judged(params: Params) -> tuple[Array, Array]:
        x, labels = validation
        logits = NET.fn(params, x)
        wrong = jnp.argmax(logits, axis=-1) != labels
        return jc.distill.outputs.hard_targets(logits, labels).mean(), wrong.mean()

    def stretch(carry, order):
        carry, best, lowest = carry
        carry, _ = jax.lax.scan(step, carry, order)
        loss, error = jax.vmap(judged)(carry[0])
        best = jax.tree.map(
            lambda old, new: jax.vmap(jnp.where)(loss < lowest, new, old), best, carry[0]
        )
        return (carry, best, jnp.minimum(loss, lowest)), (loss, error)

    lowest = jnp.full(len(jax.tree.leaves(starts)[0]), jnp.inf)
    begin = (starts, optimizer.init(starts)), starts, lowest
    ((params, _), best, _), curves = jax.lax.scan(stretch, begin, orders)
    return params, best, curves


def raced(
    starts: dict[str, Params], masks: Masks, parts: Splits, orders: Array
) -> tuple[dict[str, Any], Params]:
    """The figures of several starts under the same masks, and the first one's end."""
    stacked = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *(p.apply(masks, start) for start in starts.values())
    )
    train, validation = (
        jax.device_put((part.images, part.labels)) for part in (parts.train, parts.validation)
    )
    last, best, curves = trained(stacked, masks, train, validation, orders)
    losses, errors = (np.asarray(curve) for curve in curves)
    figures: dict[str, Any] = {"left": lenets.left(masks)}
    for rank, name in enumerate(starts):
        stop = int(losses[:, rank].argmin())
        figures[name] = {
            "stop": (stop + 1) * EVERY,
            "validation_errors": errors[:, rank],
            "validation_losses": losses[:, rank],
            "validation": float(errors[stop, rank]),
            "test": lenets.error(NET.fn, nth(best, rank), parts.test),
            "test_at_end": lenets.error(NET.fn, nth(last, rank), parts.test),
        }
    return figures, nth(last, 0)


def nth(stacked: Params, rank: int) -> Params:
    """One of the params that were trained beside each other."""
    return jax.tree.map(lambda leaf: leaf[rank], stacked)


def batches(count: int, epochs: int, seed: int) -> Array:
    """The order of images that all rounds share: (stretches, steps, batch)."""
    generator = np.random.default_rng(seed)
    order = np.concatenate([generator.permutation(count) for _ in range(epochs)])
    steps = epochs * (count // BATCH) // EVERY * EVERY
    return jnp.asarray(order[: steps * BATCH].reshape(-1, EVERY, BATCH))


def controls(first: Params, key: Key) -> dict[str, Params]:
    """What a ticket has to beat: other weights, and its own in other places."""
    draw, order = jax.random.split(key)
    fresh = NET.initial(int(jax.random.bits(draw) >> 1))
    return {"fresh": fresh, "shuffled": p.lottery.shuffled(first, order)}


def measure(data: pathlib.Path, epochs: int, seed: int) -> dict[str, Any]:
    """The figures of one seed, the dense model's first."""
    parts, first = lenets.splits(data, seed), NET.initial(seed)
    orders, key = batches(len(parts.train), epochs, seed), jax.random.key(seed + 1000)
    rounds: list[dict[str, Any]] = []

    def train(params: Params, masks: Masks, turn: int) -> Params:
        starts = {"ticket": params}
        if turn % CONTROLLED == CONTROLLED - 1:
            starts |= controls(first, jax.random.fold_in(key, turn))
        figures, last = raced(starts, masks, parts, orders)
        rounds.append(figures)
        return last

    whole = jax.tree.map(lambda leaf: jnp.ones(leaf.shape if leaf.ndim > 1 else (), bool), first)
    axes = jc.graph.axes(NET.fn, first, parts.train.images[:1])
    p.iterative(
        train(first, whole, 0),
        p.criteria.magnitude(),
        [p.Target(removed_by(turn), axes=axes) for turn in range(1, ROUNDS + 1)],
        train=train,
        restart=lambda params, turn: first,
    )
    return {"rounds": rounds}


def run(options) -> None:
    """Every seed that has no record yet."""
    for seed in options.seeds:
        runner.record(
            "lottery_ticket",
            functools.partial(measure, options.data, options.epochs, seed),
            settings=settings(options.epochs),
            seed=seed,
            out=options.out,
        )
        print("seed", seed, "is done", flush=True)


def settings(epochs: int) -> dict[str, Any]:
    """All that the figures depend on but the seed."""
    return {
        "rounds": ROUNDS,
        "lost": LOST,
        "lost_output": LOST_OUTPUT,
        "controlled": CONTROLLED,
        "epochs": epochs,
        "batch": BATCH,
        "rate": RATE,
        "every": EVERY,
        "controls": CONTROLS,
    }


def show(options) -> None:
    """The table and the picture of all seeds."""
    records = runner.read(options.out / "lottery_ticket.json")
    records = [record for record in records if record["settings"]["epochs"] == options.epochs]
    seeds = [record["figures"]["rounds"] for record in records]
    shares = [figures["left"]["share"] for figures in seeds[0]]
    print(told(seeds, "ticket", 0, shares[0]))
    series = {}
    for name in ("ticket", *CONTROLS):
        turns = [turn for turn in range(1, ROUNDS + 1) if name in seeds[0][turn]]
        tests = [[rounds[turn][name]["test"] for turn in turns] for rounds in seeds]
        series[name] = [shares[turn] for turn in turns], tests
        for turn in turns:
            print(told(seeds, name, turn, shares[turn]))
    level = float(np.mean([rounds[0]["ticket"]["test"] for rounds in seeds]))
    panel = lenets.Panel("LeNet-300-100, lottery ticket", series, {}, level)
    lenets.picture(options.out / "lottery_ticket.png", [panel])


def told(seeds: list[list[dict[str, Any]]], name: str, turn: int, share: float) -> str:
    """Test errors where training stops and at its end, with gaps to the dense model."""
    here = [rounds[turn][name] for rounds in seeds]
    there = [rounds[0]["ticket"] for rounds in seeds]
    line = f"{name} {share:.1%} kept:"
    stop = f"stopped after {np.mean([run['stop'] for run in here]):.0f} steps"
    for place, label in (("test", stop), ("test_at_end", "at the end")):
        error = np.mean([run[place] for run in here])
        gap = runner.summary([a[place] - b[place] for a, b in zip(here, there, strict=True)])
        line += f" {label} {error:.2%}, gap {gap.mean:+.2%} ± {gap.standard_error:.2%};"
    return line.rstrip(";")


def main() -> None:
    """One of the two commands."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    commands = {"run": run, "show": show}
    parser.add_argument("command", choices=commands)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each round")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(3))
    options = parser.parse_args()
    commands[options.command](options)


if __name__ == "__main__":
    main()
