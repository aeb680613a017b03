"""Roundings as plain loops in float64."""

import numpy as np


def rise(weight, rounded, second_moment) -> np.ndarray:
    """(outputs,) what rounding adds to the error of each: (q - w) H (q - w)ᵀ."""
    drift = np.asarray(rounded, np.float64) - np.asarray(weight, np.float64)
    return np.sum((drift @ second_moment) * drift, axis=1)


def damped(second_moment, damping: float = 0.01) -> np.ndarray:
    second_moment = np.asarray(second_moment, np.float64)
    energy = np.diag(second_moment)
    seen = energy > 0
    mean = np.mean(energy[seen]) if seen.any() else 1.0
    return second_moment + np.diag(damping * mean + np.where(seen, 0, mean))


def gptq_by_hand(weight, second_moment, values, turns, damping=0.01):
    """Optimal brain surgery input by input, with the inverse of those that are left.

    Args:
      weight: (outputs, inputs).
      second_moment: (inputs, inputs).
      values: (outputs, inputs, levels) what each weight may become.
      turns: the inputs in the order in which they are rounded.
      damping: as of `gptq`.

    Returns:
      (indices (outputs, inputs) into the levels, margins (outputs,): how near the
      closest call of an output was, as a share of the distance of its two best levels).
    """
    weight = np.array(weight, np.float64)
    zeros = weight == 0
    inverse = np.linalg.inv(damped(second_moment, damping))
    indices, margins = np.zeros(weight.shape, int), np.full(len(weight), np.inf)
    for j in turns:
        apart = np.abs(np.where(zeros[:, j], 0, weight[:, j])[:, None] - values[:, j])
        indices[:, j] = np.argmin(apart, axis=1)
        best, second = np.sort(apart, axis=1)[:, :2].T
        margins = np.minimum(margins, (second - best) / (second + best))
        rounded = np.take_along_axis(values[:, j], indices[:, j, None], axis=1)[:, 0]
        weight -= np.outer((weight[:, j] - rounded) / inverse[j, j], inverse[j])
        # What is left of the inverse once this input is fixed.
        inverse = inverse - np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    return indices, margins


def swept_by_hand(weight, second_moment, values, indices, turns):
    """One sweep of coordinate descent: each weight gets its best level in its turn.

    Returns:
      (indices, margins), as `gptq_by_hand`.
    """
    indices, margins = np.array(indices), np.full(len(weight), np.inf)
    for j in turns:
        rounded = at(values, indices)
        losses = []
        for level in range(values.shape[2]):
            rounded[:, j] = values[:, j, level]
            losses.append(rise(weight, rounded, second_moment))
        ranks = np.argsort(losses, axis=0)
        best, second = (np.take_along_axis(np.array(losses), r[None], 0)[0] for r in ranks[:2])
        one, other = (np.take_along_axis(values[:, j], r[:, None], 1)[:, 0] for r in ranks[:2])
        margins = np.minimum(margins, (second - best) / second_moment[j, j] / (one - other) ** 2)
        indices[:, j] = ranks[0]
    return indices, margins


def at(values, indices) -> np.ndarray:
    """(outputs, inputs) the values (outputs, inputs, levels) at their indices."""
    return np.take_along_axis(values, indices[..., None], axis=2)[..., 0]
