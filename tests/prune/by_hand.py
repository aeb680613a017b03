"""Solvers as plain loops in float64, and the numbers that their tests are run on."""

from collections.abc import Callable
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

# Second moments below have conditions of hundreds: hundreds of roundings of a weight.
TOLERANCE = {"rtol": 500 * 2**-23, "atol": 500 * 2**-23}


RANDOM = np.random.default_rng(0)
START = RANDOM.bit_generator.state


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape)


def single(x) -> jax.Array:
    return jnp.asarray(x, jnp.float32)


def damped(second_moment: np.ndarray, damping: float) -> np.ndarray:
    energy = np.diag(second_moment)
    mean = np.mean(energy[energy > 0])
    return second_moment + np.diag(damping * mean + np.where(energy > 0, 0, mean))


def rise(weight, changed, second_moment) -> float:
    error = np.asarray(weight, np.float64) - np.asarray(changed, np.float64)
    return np.trace(error @ second_moment @ error.T)


def in_all(scores: np.ndarray, count: int) -> np.ndarray:
    """Who goes of a block (inputs, outputs): the lowest, the earlier first."""
    gone = np.zeros(scores.size, bool)
    gone[np.argsort(scores.ravel(), kind="stable")[:count]] = True
    return gone.reshape(scores.shape)


def in_each_output(scores: np.ndarray, count: int) -> np.ndarray:
    outputs = scores.shape[1]
    return np.stack([in_all(column, count // outputs) for column in scores.T], axis=1)


def in_runs(size: int, going: int) -> Callable:
    def choose(scores, count):
        runs = [np.split(column, len(column) // size) for column in scores.T]
        gone = [np.concatenate([in_all(run, going) for run in each]) for each in runs]
        return np.stack(gone, axis=1)

    return choose


def sparsegpt_by_hand(
    weight, second_moment, sparsity, block_size=128, choose=in_all, rounded=lambda column, j: column
):
    """Algorithm 1 with an explicit inverse; errors go to all later inputs at once."""
    weight = np.array(weight, np.float64)
    outputs, inputs = weight.shape
    factor = np.linalg.cholesky(np.linalg.inv(damped(second_moment, 0.01))).T
    keep, gone = np.ones(weight.shape, bool), 0
    for begin in range(0, inputs, block_size):
        end = min(begin + block_size, inputs)
        share = Fraction(float(np.float32(sparsity))) * end
        target = round(share * outputs) if end == inputs else outputs * round(share)
        scores = np.stack(
            [
                (second_moment[j, j] > 0) * (weight[:, j] / factor[j, j]) ** 2
                for j in range(begin, end)
            ]
        )
        keep[:, begin:end] = ~choose(scores, target - gone).T
        gone = target
        for j in range(begin, end):
            left = np.where(keep[:, j], rounded(weight[:, j], j), 0)
            error = (weight[:, j] - left) / factor[j, j]
            weight[:, j:] -= np.outer(error, factor[j, j:])
            weight[:, j] = left
    return weight, keep


def best_for(keep, weight, second_moment) -> np.ndarray:
    """Each output by itself: the normal equations of what it keeps."""
    found = np.zeros(keep.shape)
    for row, stays in enumerate(keep):
        among = np.ix_(stays, stays)
        wanted = second_moment[stays] @ np.asarray(weight[row], np.float64)
        found[row, stays] = np.linalg.solve(second_moment[among], wanted)
    return found


def alps_by_hand(weight, second_moment, choose):
    """The search with an explicit inverse for each penalty, then the best of two masks.

    Args:
      weight: (outputs, inputs).
      second_moment: of the inputs.
      choose: scores (inputs, outputs) -> who goes.
    """
    whole = damped(second_moment, 0.01)
    size = np.sqrt(np.diag(whole))
    unit, wanted = whole / np.outer(size, size), np.asarray(weight, np.float64) * size

    def kept(found):
        return ~choose(np.square(found).T).T

    first = kept(wanted)
    penalty, left, count = 0.1, False, 0
    sparse, dual, seen = first * wanted, 0 * wanted, first
    while count < 300:
        inverse = np.linalg.inv(unit + penalty * np.eye(len(unit)))
        for _ in range(3):
            dense = (wanted @ unit - dual + penalty * sparse) @ inverse
            keep = kept(dense + dual / penalty)
            sparse = keep * (dense + dual / penalty)
            dual = dual + penalty * (dense - sparse)
        count += 3
        changed = np.sum(keep != seen) / np.sum(keep)
        if not left and changed <= 0.005 and penalty > 1e-4:
            penalty, sparse, dual, seen = penalty / 5, first * wanted, 0 * wanted, first
            continue
        left, seen = True, keep
        penalty *= 1.3 if changed > 0.1 else 1.2 if changed > 0.005 else 1.1
        if changed == 0 or (count >= 30 and changed < 0.0003):
            break
    dense = (wanted @ unit - dual + penalty * sparse) @ np.linalg.inv(
        unit + penalty * np.eye(len(unit))
    )
    masks = [kept(dense), first]
    fits = [best_for(keep, weight, whole) for keep in masks]
    best = int(np.argmin([rise(weight, found, whole) for found in fits]))
    return fits[best], masks[best]
