"""Losses on features by plain loops over examples and positions, in float64."""

import itertools
import math
from collections.abc import Callable

import numpy as np


def unit(vector):
    length = math.sqrt(sum(float(x) ** 2 for x in np.ravel(vector)))
    return np.ravel(vector) / length if length else np.ravel(vector)


def positions(example):
    """The places between batch and channels of one example."""
    return itertools.product(*(range(size) for size in example.shape[:-1]))


def each(of_one: Callable) -> Callable[..., np.ndarray]:
    """An oracle of a batch from one of an example."""
    return lambda parameters, student, teacher: np.array(
        [of_one(parameters, s, t) for s, t in zip(student, teacher, strict=True)]
    )


@each
def squared_error(_, student, teacher):
    return sum((s - t) ** 2 for s, t in zip(student.flat, teacher.flat, strict=True)) / student.size


@each
def cosine_distance(_, student, teacher):
    cosines = [sum(unit(student[p]) * unit(teacher[p])) for p in positions(student)]
    return sum(1 - cosine for cosine in cosines) / len(cosines)


def resized(example, sizes):
    """Triangles around each place of the result, as wide as a step or wider."""
    for axis, count in enumerate(sizes):
        size, moved = example.shape[axis], np.moveaxis(example, axis, 0)
        rows = []
        for place in range(count):
            center, reach = (place + 0.5) * size / count - 0.5, max(size / count, 1)
            weights = [max(0, 1 - abs(own - center) / reach) for own in range(size)]
            total = sum(weights)
            rows.append(sum(w / total * row for w, row in zip(weights, moved, strict=True)))
        example = np.moveaxis(np.array(rows), 0, axis)
    return example


def nearest(example, sizes):
    for axis, count in enumerate(sizes):
        size = example.shape[axis]
        example = example.take([int((i + 0.5) * size / count) for i in range(count)], axis)
    return example


def linear(parameters, example):
    result = np.zeros((*example.shape[:-1], len(parameters["bias"])))
    for p in positions(example):
        for c in range(len(parameters["bias"])):
            result[*p, c] = parameters["bias"][c] + sum(example[p] * parameters["kernel"][:, c])
    return result


def perceptron(parameters, example, activation):
    hidden = linear(parameters["hidden"], example)
    return linear(parameters["out"], np.vectorize(activation)(hidden))


def relu(x):
    return max(x, 0.0)


def leaky(x):
    return x if x > 0 else 0.1 * x


@each
def projected(parameters, student, teacher):
    fitted = linear(parameters, resized(student, teacher.shape[:-1]))
    return squared_error(None, fitted[None], teacher[None])[0]


@each
def projected_cosine(parameters, student, teacher):
    fitted = perceptron(parameters, resized(student, teacher.shape[:-1]), relu)
    return cosine_distance(None, fitted[None], teacher[None])[0]


@each
def attention_transfer(_, student, teacher):
    def activity(example):
        squares = np.zeros((*example.shape[:-1], 1))
        for p in positions(example):
            squares[p] = sum(x**2 for x in example[p]) / example.shape[-1]
        return squares

    own = unit(resized(activity(student), teacher.shape[:-1]))
    return sum((own - unit(activity(teacher))) ** 2)


@each
def variational_information(parameters, student, teacher):
    predicted = linear(parameters["projection"], resized(student, teacher.shape[:-1]))
    total = 0.0
    for p in positions(teacher):
        for c, a in enumerate(parameters["variance"]):
            variance = math.log(1 + math.exp(a)) + 1e-5
            total += math.log(variance) + (teacher[p][c] - predicted[p][c]) ** 2 / variance
    return total / 2 / teacher.size


@each
def factor_transfer(parameters, student, teacher):
    own = perceptron(parameters["translator"], resized(student, teacher.shape[:-1]), leaky)
    wanted = perceptron(parameters["encoder"], teacher, leaky)
    return sum(abs(unit(own) - unit(wanted)))


@each
def reconstruction(parameters, _, teacher):
    factors = perceptron(parameters["encoder"], teacher, leaky)
    again = perceptron(parameters["decoder"], factors, leaky)
    return squared_error(None, again[None], teacher[None])[0]


def pooled(example, windows):
    """Means of windows from floor(i n / w) to ceil((i + 1) n / w), axis by axis."""
    for axis in range(example.ndim - 1):
        size = example.shape[axis]
        count = min(windows, size)
        parts = [
            example.take(range(i * size // count, math.ceil((i + 1) * size / count)), axis)
            for i in range(count)
        ]
        example = np.stack([part.mean(axis) for part in parts], axis)
    return example


@each
def hierarchical_context(_, student, teacher):
    total = np.mean((student - teacher) ** 2)
    weight, weights = 1.0, 1.0
    for windows in (4, 2, 1):
        if windows < max(student.shape[:-1]):
            weight /= 2
            weights += weight
            total += weight * np.mean((pooled(student, windows) - pooled(teacher, windows)) ** 2)
    return total / weights


def convolved(parameters, example):
    height, width, _ = example.shape
    padded = np.pad(example, ((1, 1), (1, 1), (0, 0)))
    result = np.zeros((height, width, len(parameters["bias"])))
    for i, j in itertools.product(range(height), range(width)):
        window = padded[i : i + 3, j : j + 3]
        for c, bias in enumerate(parameters["bias"]):
            result[i, j, c] = bias + np.sum(window * parameters["kernel"][..., c])
    return result


def review(parameters, students, teachers):
    losses = np.zeros(len(students[0]))
    for example in range(len(losses)):
        below = None
        for stage in reversed(range(len(students))):
            own = linear(parameters[stage]["inner"], students[stage][example])
            teacher = teachers[stage][example]
            if below is not None:
                below = nearest(below, own.shape[:-1])
                both = np.concatenate([own, below], axis=-1)
                maps = 1 / (1 + np.exp(-linear(parameters[stage]["maps"], both)))
                own = maps[..., :1] * own + maps[..., 1:] * below
            below = nearest(own, teacher.shape[:-1])
            fused = convolved(parameters[stage]["outer"], below)
            losses[example] += hierarchical_context(None, fused[None], teacher[None])[0]
    return losses


def softmax(row):
    shifted = np.exp(row - np.max(row))
    return shifted / shifted.sum()


@each
def attention_maps(_, student, teacher):
    divergences = [
        sum(softmax(teacher[p]) * np.log(softmax(teacher[p]) / softmax(student[p])))
        for p in positions(student)
    ]
    return sum(divergences) / len(divergences)


def token_relations(heads):
    @each
    def of_one(_, student, teacher):
        total, tokens = 0.0, len(student)
        for head, token in itertools.product(range(heads), range(tokens)):
            rows = []
            for features in (student, teacher):
                part = np.split(features, heads, axis=1)[head]
                dots = [part[token] @ part[other] for other in range(tokens)]
                rows.append(softmax(np.array(dots) / math.sqrt(part.shape[1])))
            total += sum(rows[1] * np.log(rows[1] / rows[0]))
        return total / heads / tokens

    return of_one


def cka_distance(_, student, teacher):
    n = len(student)
    kernels = []
    for features in (student, teacher):
        rows = features.reshape(n, -1) - features.reshape(n, -1).mean(axis=0)
        kernels.append(np.array([[a @ b for b in rows] for a in rows]))
    own, other = (unit(kernel).reshape(n, n) for kernel in kernels)
    return np.array([n / 2 * sum((own[i] - other[i]) ** 2) for i in range(n)])


def hsic(own, other):
    """The U-statistic: all quadruples of different examples."""
    n, total, count = len(own), 0.0, 0
    for i, j, q, r in itertools.permutations(range(n), 4):
        total += own[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q])
        count += 1
    return total / count
