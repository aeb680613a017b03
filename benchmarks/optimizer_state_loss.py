"""What a compressed optimizer state costs in loss: a paired test over seeds.

    python -m benchmarks.optimizer_state_loss [--seeds 0 … 7] [--formats …]

The character transformer on tiny Shakespeare, trained by AdamW as in `benchmarks.race`,
with its state in float32 and in every format: same initial weights, same batches. The
two tables of embeddings keep float32 moments, as in the paper (arXiv:2110.02861). The
rate is the one that ends lowest in long runs, half of what 500 steps would choose. The
difference of test losses, seed by seed, has a 95 % interval of Student's t.
"""

import functools

import jax

import jaxcompress as jc
from benchmarks import race, runner

SEEDS, RATE, STEPS = 8, 4e-3, 1000
EMBEDDINGS = ("embedding", "positions")
rooms = jc.optimizers


def compressed(form, key: bool) -> race.Racer:
    """AdamW as it races, its state in a format, rounded at random or not."""
    plain = race.RACERS["adamw"]
    select = jc.all_of(rooms.large, jc.none_of(*map(jc.matching, EMBEDDINGS)))

    def make(rate, axes):
        return rooms.quantize_state(
            plain.make(rate, axes),
            form,
            select=select,
            key=jax.random.key(0) if key else None,
        )

    return plain._replace(make=make)


FORMATS = {
    "float32": race.RACERS["adamw"],
    "dynamic8": compressed(rooms.dynamic8(), key=False),
    "dynamic8, at random": compressed(rooms.dynamic8(), key=True),
    "linear8": compressed(rooms.linear8(), key=True),
    "linear4": compressed(rooms.linear4(), key=True),
    "stochastic_bfloat16": compressed(rooms.bfloat16(), key=True),
}


def main() -> None:
    """Runs what has no record yet, then prints differences to float32."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=range(SEEDS))
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    options = parser.parse_args()
    ends: dict[str, list[float]] = {name: [] for name in options.formats}
    for seed in options.seeds:
        for name in options.formats:
            record = runner.record(
                "optimizer_state_loss",
                functools.partial(race.measure, options.data, FORMATS[name], RATE, STEPS, seed),
                settings=race.settings(name, RATE, STEPS) | {"in_float32": EMBEDDINGS},
                seed=seed,
                out=options.out,
            )
            ends[name].append(record["figures"]["test"])
    for name, losses in ends.items():
        rises = runner.summary([a - b for a, b in zip(losses, ends["float32"], strict=True)])
        print(f"{name:20} {rises.mean:+.4f} nats [{rises.low:+.4f}, {rises.high:+.4f}]")


if __name__ == "__main__":
    main()
