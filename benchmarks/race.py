"""Which optimizer reaches tuned AdamW's loss first, on tiny Shakespeare.

    python -m benchmarks.race tune [--racers adamw soap] [--data DIR]
    python -m benchmarks.race run [--racers adamw soap] [--seeds 0 1 2] [--steps 2000]
    python -m benchmarks.race time
    python -m benchmarks.race show

Every racer gets the same model, data, batches, clipping, warm-up, decay of weights and
six runs to choose its learning rate, a quarter as long as the race. The rate with the
lowest validation loss then runs over several seeds. Times of a step are measured by
themselves, all racers in turn in one process, since the runs share a machine. Runs that
are on record are not run again, and several processes may work at once.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

import jaxcompress as jc
from benchmarks import plots, runner
from benchmarks.shakespeare import batch, gpt, initial, loss, text, windows
from jaxcompress.core.axes import Axes
from jaxcompress.core.types import Array, Params, PyTree

STEPS, TUNING, WARM_UP = 2000, 500, 100
BATCH, WINDOWS, EVERY = 12, 96, 50
DECAY, LONGEST = 0.1, 1.0
TIMED = 10

rooms = jc.optimizers


class Racer(NamedTuple):
    """An optimizer as it races.

    Attributes:
      make: (schedule, axes) to the optimizer.
      rates: the six peaks of the schedule that are tried.
      schedule: (peak, steps) to the schedule.
      evaluated: (opt_state, params) to the params that are judged.
    """

    make: Callable[[optax.Schedule, Axes], optax.GradientTransformation]
    rates: tuple[float, ...]
    schedule: Callable[[float, int], optax.Schedule]
    evaluated: Callable[[optax.OptState, Params], Params] = lambda opt_state, params: params


def cosine(peak: float, steps: int) -> optax.Schedule:
    """A warm-up, then a cosine to a tenth of the peak."""
    return optax.warmup_cosine_decay_schedule(0.0, peak, WARM_UP, steps, peak / 10)


def constant(peak: float, steps: int) -> optax.Schedule:
    """A warm-up, then the peak, however many steps come."""
    del steps
    return optax.linear_schedule(0.0, peak, WARM_UP)


def octaves(middle: float) -> tuple[float, ...]:
    """Six rates, each twice the last, the third in the middle."""
    return tuple(middle * 2.0**power for power in range(-2, 4))


RACERS = {
    "adamw": Racer(
        lambda rate, axes: rooms.adamw(rate, b2=0.99, weight_decay=DECAY),
        octaves(2e-3),
        cosine,
    ),
    "nesterov": Racer(
        lambda rate, axes: optax.chain(rooms.l2(DECAY / 1000), rooms.nesterov(rate)),
        octaves(0.4),
        cosine,
    ),
    "lion": Racer(
        lambda rate, axes: rooms.lion(rate, b2=0.99, weight_decay=10 * DECAY),
        octaves(4e-4),
        cosine,
    ),
    "muon": Racer(
        lambda rate, axes: rooms.muon(
            rate,
            scale=rooms.adam_scale,
            b2=0.99,
            weight_decay=DECAY,
            select=jc.all_of(rooms.hidden(axes), jc.none_of(jc.matching("embedding"))),
            axes=axes,
        ),
        octaves(2e-3),
        cosine,
    ),
    "soap": Racer(
        lambda rate, axes: rooms.soap(rate, axes=axes, weight_decay=DECAY),
        octaves(4e-3),
        cosine,
    ),
    "shampoo": Racer(
        lambda rate, axes: rooms.shampoo(rate, axes=axes, weight_decay=DECAY),
        octaves(2e-3),
        cosine,
    ),
    "schedule-free": Racer(
        lambda rate, axes: rooms.schedule_free_adamw(rate, b2=0.99, weight_decay=DECAY),
        octaves(4e-3),
        constant,
        lambda opt_state, params: rooms.evaluation_params(opt_state, params),
    ),
}


class Runner(NamedTuple):
    """Two compiled functions over a carry (params, opt_state).

    Attributes:
      start: () to a carry.
      advance: (carry, the step to begin with) to the carry `EVERY` steps later.
      judge: (carry, windows) to the loss.
    """

    start: Callable[[], PyTree]
    advance: Callable[[PyTree, Array], PyTree]
    judge: Callable[[PyTree, ArrayLike], Array]


def prepared(racer: Racer, rate: float, steps: int, codes: Array, seed: int, every: int) -> Runner:
    """The training of one racer."""
    key = jax.random.key(seed)
    params = initial(key)
    axes = jc.graph.axes(gpt, params, codes[None, :8])
    optimizer = optax.chain(
        optax.clip_by_global_norm(LONGEST), racer.make(racer.schedule(rate, steps), axes)
    )

    def step(carry, count):
        params, opt_state = carry
        drawn = batch(codes, BATCH, jax.random.fold_in(key, count))
        grads = jax.grad(loss)(params, drawn)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    @functools.partial(jax.jit, donate_argnums=0)
    def advance(carry, begin):
        return jax.lax.scan(step, carry, begin + jnp.arange(every))[0]

    @jax.jit
    def judge(carry, codes):
        params, opt_state = carry
        return loss(racer.evaluated(opt_state, params), codes)

    return Runner(lambda: (params, optimizer.init(params)), advance, judge)


def measure(data: pathlib.Path, racer: Racer, rate: float, steps: int, seed: int) -> dict[str, Any]:
    """Losses of one run on the way, and at its end on the test windows, too."""
    parts = text(data)
    train = prepared(racer, rate, steps, jnp.asarray(parts.train), seed, EVERY)
    validation = windows(parts.validation, WINDOWS)
    carry, found = train.start(), []
    for begin in range(0, steps, EVERY):
        carry = train.advance(carry, jnp.int32(begin))
        # A run that is lost has a loss that JSON can hold.
        found.append(float(np.nan_to_num(train.judge(carry, validation), nan=99.0, posinf=99.0)))
    test = train.judge(carry, windows(parts.test, 4 * WINDOWS))
    return {"validation": found, "test": float(np.nan_to_num(test, nan=99.0))}


def settings(name: str, rate: float, steps: int) -> dict[str, Any]:
    """All that one run depends on but the seed."""
    return {
        "racer": name,
        "rate": rate,
        "steps": steps,
        "batch": BATCH,
        "windows": WINDOWS,
        "every": EVERY,
        "warm_up": WARM_UP,
        "weight_decay": DECAY,
        "longest_gradient": LONGEST,
    }


def recorded(options, name: str, rate: float, steps: int, seed: int) -> dict[str, Any]:
    """One run, from the file or anew."""
    run = functools.partial(measure, options.data, RACERS[name], rate, steps, seed)
    known = settings(name, rate, steps)
    record = runner.record("race", run, settings=known, seed=seed, out=options.out)
    print(name, rate, steps, seed, record["figures"]["validation"][-1], flush=True)
    return record


def tune(options) -> None:
    """The six short runs of each racer."""
    for name in options.racers:
        for rate in RACERS[name].rates:
            recorded(options, name, rate, TUNING, seed=0)


def chosen(options, name: str) -> float:
    """The rate whose short run ended lowest on validation."""
    runs = [
        (record["figures"]["validation"][-1], record["settings"]["rate"])
        for record in runner.read(options.out / "race.json")
        if record["settings"]["racer"] == name and record["settings"]["steps"] == TUNING
    ]
    if len(runs) < len(RACERS[name].rates):
        raise ValueError(f"{name} is not tuned yet: run `tune --racers {name}` first.")
    return min(runs)[1]


def run(options) -> None:
    """The race itself."""
    for seed in options.seeds:
        for name in options.racers:
            recorded(options, name, chosen(options, name), options.steps, seed)


def time(options) -> None:
    """Seconds of a step of every racer, in turn."""
    codes = jnp.asarray(text(options.data).train)

    def timed() -> dict[str, Any]:
        calls = {}
        for name in options.racers:
            train = prepared(RACERS[name], chosen(options, name), STEPS, codes, 0, TIMED)
            # Not from the start: racers that refresh something do it at their own pace.
            calls[name] = functools.partial(continued, train, [train.start()])
        found = runner.interleaved(calls, repeats=10)
        return {name: timing._asdict() for name, timing in found.items()}

    known = {"racers": options.racers, "steps_per_call": TIMED, "batch": BATCH}
    record = runner.record("race_times", timed, settings=known, seed=0, out=options.out)
    for name, timing in record["figures"].items():
        print(name, timing)


def continued(train: Runner, carry: list) -> PyTree:
    """A call that goes on where the last one was."""
    carry[0] = train.advance(carry[0], jnp.int32(0))
    return carry[0]


def show(options) -> None:
    """The table and the picture of all runs of the race."""
    records = runner.read(options.out / "race.json")
    times = runner.read(options.out / "race_times.json")
    seconds = times[-1]["figures"] if times else {}
    goals = {
        seed: figures["validation"][-1] for seed, figures in runs(options, "adamw", STEPS).items()
    }
    lengths = sorted({record["settings"]["steps"] for record in records} - {TUNING}, reverse=True)
    series = {}
    for name in options.racers:
        cost = 1 / seconds[name]["ratio"] if name in seconds else float("nan")
        for length in lengths:
            found = runs(options, name, length)
            if found:
                print(f"{name} over {length} steps, each {cost:.2f} of AdamW's:")
                print(line(found, goals, cost))
                places = np.arange(EVERY, length + 1, EVERY)
                label = name if length == STEPS else f"{name}, {length}"
                series[label] = places, [found[seed]["validation"] for seed in found]
    plots.curves(
        options.out / "race.png",
        series,
        x="steps",
        y="validation loss, nats per character",
        level=float(np.mean(list(goals.values()))),
    )


def runs(options, name: str, steps: int) -> dict[int, dict[str, Any]]:
    """By seed the figures of a racer at its rate."""
    known = settings(name, chosen(options, name), steps)
    records = runner.read(options.out / "race.json")
    found = {r["seed"]: r["figures"] for r in records if r["settings"] == known}
    return dict(sorted(found.items()))


def line(found: dict[int, dict[str, Any]], goals: dict[int, float], cost: float) -> str:
    """Final losses and what the goal took, seed by seed."""
    ends = {
        part: np.mean([np.ravel(figures[part])[-1] for figures in found.values()])
        for part in ("validation", "test")
    }
    steps = [first(figures["validation"], goals[seed]) for seed, figures in found.items()]
    times = [None if each is None else round(cost * each / STEPS, 2) for each in steps]
    return (
        f"  ends at {ends['validation']:.3f}, test {ends['test']:.3f}; "
        f"AdamW's end after {steps} steps, {times} of its time"
    )


def first(losses: list[float], goal: float) -> int | None:
    """The step at which a loss is no more than the goal."""
    reached = np.flatnonzero(np.asarray(losses) <= goal)
    return int((reached[0] + 1) * EVERY) if len(reached) else None


def main() -> None:
    """One of the four commands."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    commands = {"tune": tune, "run": run, "time": time, "show": show}
    parser.add_argument("command", choices=commands)
    parser.add_argument("--racers", nargs="+", choices=RACERS, default=list(RACERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=range(3))
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    commands[options.command](options)


if __name__ == "__main__":
    main()
