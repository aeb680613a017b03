"""How well scores rank the units of LeNet-5 by what each is really worth.

    python -m benchmarks.structured_scores [--seeds 0 1 2 3 4] [--data DIR]

The dense model of `benchmarks.structured_lenet`, trained for fewer epochs. What a unit
is worth is the exact rise of the mean loss without it, on a thousand training images.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy import stats

import jaxcompress as jc
from benchmarks import runner
from benchmarks.removal import Training, train
from benchmarks.structured_lenet import Batches, hard, initial, lenet, scoring, splits
from jaxcompress.core.types import Params
from jaxcompress.graph.surgery.families import Family

DENSE = Training(epochs=3, learning_rate=2e-3)
SCORES = ("linearized", "taylor", "second_order", "taylor_squared")


def measure(data: pathlib.Path, seed: int) -> dict[str, dict[str, float]]:
    """The figures of one seed."""
    parts = splits(data, seed)
    train_data = parts.train.images, parts.train.labels
    dense = train(hard, initial(seed), train_data, DENSE, seed=seed)
    return rank_correlations(dense, scoring(parts.train))


def rank_correlations(params: Params, batches: Batches) -> dict[str, dict[str, float]]:
    """Spearman's, per layer, of scores with what a unit's absence does to the loss.

    Scores without a sign estimate how far each example's loss moves; the mean rise,
    where gains and losses of examples cancel, is another quantity once the model fits
    its data. So both are ranked, and the mean rise also against the signed first order.
    """
    loss, structure = jc.distill.outputs.hard_targets, jc.structure
    couplings = jc.graph.couplings(lenet, params, batches[0][0][:1])
    rises = structure.importance.exact(loss, batches)(lenet, params, couplings)
    scores = {
        name: getattr(structure, name)(loss, batches)(lenet, params, couplings) for name in SCORES
    }
    found = {}
    for family in couplings.families:
        rise = np.asarray(rises[family.name])
        moves = movements(params, family, batches)
        found[family.name] = {
            "signed first order, to exact": spearman(slopes(params, family, batches), rise),
            "share of units below 0": float(np.mean(rise < 0)),
            "median rise": float(np.median(rise)),
            "largest rise": float(rise.max()),
        }
        for label, values in scores.items():
            for against, worth in {
                "exact": rise,
                "size of exact": np.abs(rise),
                "mean size per example": moves,
            }.items():
                found[family.name][f"{label}, to {against}"] = spearman(values[family.name], worth)
    return found


def movements(params: Params, family: Family, batches: Batches) -> np.ndarray:
    """How far each example's loss moves without each unit, on average: (units,)."""
    gated = jc.graph.surgery.with_unit_gates(lenet, [family])

    @jax.jit
    def moved(x, labels):
        before = jc.distill.outputs.hard_targets(lenet(params, x), labels)

        def without(unit):
            gates = {family.name: jnp.where(jnp.arange(family.size) == unit, 0.0, 1.0)}
            after = jc.distill.outputs.hard_targets(gated(params, x, gates=gates), labels)
            return jnp.mean(jnp.abs(after - before))

        return jax.lax.map(without, jnp.arange(family.size), batch_size=25)

    return np.mean([np.asarray(moved(*batch)) for batch in batches], axis=0)


def slopes(params: Params, family: Family, batches: Batches) -> np.ndarray:
    """The mean rise without each unit to first order, its sign kept: (units,)."""
    gated = jc.graph.surgery.with_unit_gates(lenet, [family])

    @jax.jit
    @jax.grad
    def slope(gate, x, labels):
        logits = gated(params, x, gates={family.name: gate})
        return -jnp.mean(jc.distill.outputs.hard_targets(logits, labels))

    gate = jnp.ones(family.size)
    return np.mean([np.asarray(slope(gate, *batch)) for batch in batches], axis=0)


def spearman(scores: ArrayLike, worth: np.ndarray) -> float:
    """The rank correlation."""
    return float(np.asarray(stats.spearmanr(np.asarray(scores), worth))[0])


def main() -> None:
    """Runs every seed that has no record yet, then prints means over seeds."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    options = parser.parse_args()
    records = [
        runner.record(
            "structured_scores",
            functools.partial(measure, options.data, seed),
            settings={"dense": DENSE._asdict()},
            seed=seed,
            out=options.out,
        )["figures"]
        for seed in options.seeds
    ]
    for family, figures in records[0].items():
        for name in figures:
            found = runner.summary([record[family][name] for record in records])
            print(f"{family} {name}: {found.mean:.3f} ± {found.standard_error:.3f}")


if __name__ == "__main__":
    main()
