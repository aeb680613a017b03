"""Each loss on outputs, for one example, in the plainest float64."""

import numpy as np


def log_softmax(row, temperature=1.0):
    row = np.asarray(row, np.float64) / temperature
    return row - row.max() - np.log(np.exp(row - row.max()).sum())


def softmax(row, temperature=1.0):
    return np.exp(log_softmax(row, temperature))


def sigmoid(x):
    return 0.5 * (1 + np.tanh(np.asarray(x, np.float64) / 2))


def kl(first, second):
    """Of log probabilities, one class after another."""
    return sum(np.exp(a) * (a - b) for a, b in zip(first, second, strict=True))


def forward(student, teacher, temperature):
    p, q = log_softmax(teacher, temperature), log_softmax(student, temperature)
    return temperature**2 * kl(p, q)


def cross_entropy(logits, label):
    return -log_softmax(logits)[label]


def reverse(student, teacher, temperature):
    return forward(teacher, student, temperature)


def jensen_shannon(student, teacher, beta, temperature):
    p, q = log_softmax(teacher, temperature), log_softmax(student, temperature)
    m = np.log(beta * np.exp(p) + (1 - beta) * np.exp(q))
    return temperature**2 * (beta * kl(p, m) + (1 - beta) * kl(q, m))


def skewed(student, teacher, skew, temperature):
    p, q = log_softmax(teacher, temperature), log_softmax(student, temperature)
    return temperature**2 * kl(p, np.log(skew * np.exp(p) + (1 - skew) * np.exp(q)))


def skewed_reverse(student, teacher, skew, temperature):
    return skewed(teacher, student, skew, temperature)


def alpha(student, teacher, alpha, temperature):
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    kept = sum(a**alpha * b ** (1 - alpha) for a, b in zip(p, q, strict=True))
    return temperature**2 * (1 - kept) / (alpha * (1 - alpha))


def decoupled(student, teacher, label, weight, temperature):
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    others = [j for j in range(len(p)) if j != label]
    of_label = kl(np.log([p[label], p[others].sum()]), np.log([q[label], q[others].sum()]))
    among = kl(np.log(p[others] / p[others].sum()), np.log(q[others] / q[others].sum()))
    return temperature**2 * (of_label + weight * among)


def standardized(student, teacher, temperature):
    student, teacher = (
        (row - np.mean(row)) / (np.std(row, ddof=1) + 1e-7)
        for row in (np.asarray(student, np.float64), np.asarray(teacher, np.float64))
    )
    return forward(student, teacher, temperature)


def transformed(student, teacher, temperature):
    powers = softmax(teacher) ** (1 / temperature)
    return powers.sum() * kl(np.log(powers / powers.sum()), log_softmax(student))


def squared(student, teacher):
    return np.mean([(s - t) ** 2 for s, t in zip(student, teacher, strict=True)])


def huber(student, teacher, delta):
    apart = np.abs(np.asarray(student) - teacher)
    return np.mean([d**2 / 2 if d <= delta else delta * (d - delta / 2) for d in apart])


def bounded(student, teacher, targets, margin):
    own, bound = (((np.asarray(each) - targets) ** 2).sum() for each in (student, teacher))
    return own if own + margin > bound else 0.0


def top_k(student, targets, temperature):
    buckets = np.exp(np.append(targets.log_probabilities, targets.log_tail).astype(np.float64))
    q = softmax(student, temperature)
    picked = q[targets.indices]
    rest = sum(q[j] for j in range(len(q)) if j not in targets.indices)
    return temperature**2 * kl(np.log(buckets / buckets.sum()), np.log(np.append(picked, rest)))


def sampled(student, targets, temperature):
    q = log_softmax(student, temperature)
    pairs = zip(targets.indices, targets.weights, strict=True)
    return -(temperature**2) * sum(weight * q[index] for index, weight in pairs)


def inter_class(student, teacher, temperature):
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    return temperature**2 * (1 - np.corrcoef(p, q)[0, 1])


def intra_class(student, teacher, temperature):
    """Of a batch, each example's share."""
    p, q = (np.array([softmax(row, temperature) for row in each]) for each in (teacher, student))
    u, v = (each - each.mean(0) for each in (p, q))
    product = u * v / np.sqrt((u**2).sum(0) * (v**2).sum(0))
    return temperature**2 * (1 - len(p) * product.mean(1))


def multi_label(student, teacher, temperature):
    total = 0.0
    for s, t in zip(np.ravel(student), np.ravel(teacher), strict=True):
        total += forward([s, 0.0], [t, 0.0], temperature)
    return total


def mask(student, teacher, temperature):
    return multi_label(student, teacher, temperature) / np.size(student)


def dice(student, teacher, temperature):
    p, q = sigmoid(np.divide(teacher, temperature)), sigmoid(np.divide(student, temperature))
    return 1 - 2 * (p * q).sum() / ((p**2).sum() + (q**2).sum())


def overlap(student, teacher):
    def area(left, top, right, bottom):
        return max(right - left, 0) * max(bottom - top, 0)

    pairs = list(zip(student, teacher, strict=True))
    inner = area(*map(max, pairs[:2]), *map(min, pairs[2:]))
    union = area(*student) + area(*teacher) - inner
    around = area(*map(min, pairs[:2]), *map(max, pairs[2:]))
    return 1 - inner / union + (around - union) / around


def smoothed(logits, label, smoothing):
    chances = log_softmax(logits)
    return -(1 - smoothing) * chances[label] - smoothing * chances.mean()
