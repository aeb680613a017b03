"""Losses on relations by plain loops over examples, in float64."""

import itertools
import math

import numpy as np

from tests.distill.features.oracles import linear, unit


def rows(features):
    return features.reshape(len(features), -1)


def huber(x):
    return x**2 / 2 if abs(x) < 1 else abs(x) - 0.5


def length(vector):
    return math.sqrt(sum(x**2 for x in vector))


def relative_distances(_, student, teacher):
    n, distances = len(student), []
    for features in map(rows, (student, teacher)):
        found = {(i, j): length(features[i] - features[j]) for i in range(n) for j in range(n)}
        mean = sum(found.values()) / (n * (n - 1))
        distances.append({pair: distance / mean for pair, distance in found.items()})
    own, other = distances
    return np.array(
        [
            sum(huber(own[i, j] - other[i, j]) for j in range(n) if j != i) / (n - 1)
            for i in range(n)
        ]
    )


def relative_angles(_, student, teacher):
    n, shares = len(student), np.zeros(len(student))
    for j, i, k in itertools.permutations(range(n), 3):
        own, other = (
            unit(features[i] - features[j]) @ unit(features[k] - features[j])
            for features in map(rows, (student, teacher))
        )
        shares[j] += huber(own - other) / ((n - 1) * (n - 2))
    return shares


def similarity_preserving(_, student, teacher):
    n, matrices = len(student), []
    for features in map(rows, (student, teacher)):
        matrices.append([unit(np.array([a @ b for b in features])) for a in features])
    own, other = matrices
    return np.array([sum((own[i] - other[i]) ** 2) / n for i in range(n)])


def correlation_congruence(_, student, teacher):
    n, shares = len(student), np.zeros(len(student))
    for i, j in itertools.product(range(n), repeat=2):
        own, other = (
            math.exp(-0.4 * length(unit(features[i]) - unit(features[j])) ** 2)
            for features in map(rows, (student, teacher))
        )
        shares[i] += (own - other) ** 2 / n
    return shares


def probabilistic_transfer(_, student, teacher):
    n, shares = len(student), np.zeros(len(student))
    for i in range(n):
        others = [j for j in range(n) if j != i]
        choices = []
        for features in map(rows, (student, teacher)):
            likeness = [(1 + unit(features[i]) @ unit(features[j])) / 2 + 1e-7 for j in others]
            choices.append([each / sum(likeness) for each in likeness])
        shares[i] = sum(p * math.log(p / q) for q, p in zip(*choices, strict=True))
    return shares


def contrastive(parameters, student, teacher, bank, indices, drawn, temperature, usual=()):
    """By h as it is written, without logarithms of sums.

    `usual` is N · z of each anchor in order, by default that of the other arguments. It
    comes back behind the losses and the embeddings of both sides.
    """
    own, other = (
        [unit(example) for example in linear(parameters[side], rows(features))]
        for side, features in (("student", student), ("teacher", teacher))
    )

    def score(a, b):
        return math.exp(a @ b / temperature)

    losses, held, found = np.zeros(len(own)), iter(usual), []
    for i, index in enumerate(indices):
        for anchor, positive, memory in (
            (own[i], other[i], bank.teacher),
            (other[i], own[i], bank.student),
        ):
            scores = [score(anchor, memory[n]) for n in drawn if n != index]
            found.append(next(held, len(drawn) * sum(scores) / len(scores)))
            losses[i] += math.log(1 + found[-1] / score(anchor, positive))
            losses[i] += sum(math.log(1 + each / found[-1]) for each in scores)
    return losses, own, other, found
