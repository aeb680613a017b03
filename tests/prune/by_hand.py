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
