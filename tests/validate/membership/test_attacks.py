"""Attacks against loops in plain NumPy, and against cases with a known answer."""

import math
import statistics

import jax
import numpy as np
import pytest
from scipy import stats

from jaxcompress.validate import membership
from jaxcompress.validate.membership import attacks, operating

N, SHADOWS = 12, 6


def shadows(seed=0, n=N, count=SHADOWS, rest=()):
    """Signals and members in pairs of complements; members score higher."""
    generator = np.random.default_rng(seed)
    halves = np.stack([generator.permutation(n) < n // 2 for _ in range(count // 2)])
    members = np.stack([halves, ~halves], 1).reshape(count, n)
    noise = generator.normal(size=(count + 1, n, *rest))
    signals = noise + np.arange(n).reshape(n, *[1] * len(rest))
    signals[:count] += 2 * members.reshape(count, n, *[1] * len(rest))
    return signals[count], signals[:count], members


def calibrated_by_hand(target, signals, members):
    return [
        target[i] - np.mean([signals[s, i] for s in range(len(signals)) if not members[s, i]])
        for i in range(len(target))
    ]


def sides(signals, members, i):
    inside = [signals[s, i] for s in range(len(signals)) if members[s, i]]
    outside = [signals[s, i] for s in range(len(signals)) if not members[s, i]]
    return inside, outside


def pooled(signals, members, side):
    squares, freedom = 0.0, 0
    for i in range(signals.shape[1]):
        values = sides(signals, members, i)[side]
        squares += sum((value - np.mean(values)) ** 2 for value in values)
        freedom += len(values) - 1
    return squares / freedom


def lira_by_hand(target, signals, members, *, own):
    scores = []
    for i in range(len(target)):
        densities = []
        for side, values in enumerate(sides(signals, members, i)):
            variance = statistics.variance(values) if own else pooled(signals, members, side)
            densities.append(stats.norm.logpdf(target[i], np.mean(values), math.sqrt(variance)))
        scores.append(densities[0] - densities[1])
    return scores


def test_calibrated_is_its_loop():
    case = shadows()
    np.testing.assert_allclose(attacks.calibrated(*case), calibrated_by_hand(*case), rtol=1e-12)


@pytest.mark.parametrize("own", [False, True])
def test_lira_online_is_its_loop(own):
    case = shadows()
    variance = attacks.own_variance if own else attacks.shared_variance
    found = attacks.lira_online(*case, variance=variance)
    np.testing.assert_allclose(found, lira_by_hand(*case, own=own), rtol=1e-9)


def test_lira_offline_is_the_tail_of_a_normal():
    target, signals, members = shadows()
    spread = math.sqrt(pooled(signals, members, 1))
    expected = [
        -stats.norm.logsf(target[i], np.mean(sides(signals, members, i)[1]), spread)
        for i in range(N)
    ]
    np.testing.assert_allclose(attacks.lira_offline(target, signals, members), expected, rtol=1e-9)


def test_lira_adds_up_over_queries():
    target, signals, members = shadows(rest=(3,))
    for attack in (attacks.lira_online, attacks.lira_offline):
        parts = [attack(target[:, q], signals[..., q], members) for q in range(3)]
        np.testing.assert_allclose(attack(target, signals, members), sum(parts), rtol=1e-9)


def test_variance_is_each_examples_own_from_64_shadows_on():
    for count, variance in [(62, attacks.shared_variance), (64, attacks.own_variance)]:
        _, signals, members = shadows(count=count)
        found = attacks.variance_by_count(signals, members)
        np.testing.assert_array_equal(found, variance(signals, members))


def test_moderated_variance_lies_between_own_and_shared():
    _, signals, members = shadows(rest=(2,))
    own, shared = (v(signals, members) for v in (attacks.own_variance, attacks.shared_variance))
    # Three models on each side leave two degrees of freedom.
    found = attacks.moderated_variance(4)(signals, members)
    np.testing.assert_allclose(found, (2 * own + 4 * shared) / 6, rtol=1e-12)


def test_moderated_variance_is_closer_to_the_truth_than_either():
    generator = np.random.default_rng(0)
    truth = 10 / generator.chisquare(10, 500)
    signals = np.sqrt(truth) * generator.normal(size=(8, 500))
    inside = np.ones((8, 500), bool)

    def error(variance):
        return np.mean(np.log(variance(signals, inside) / truth) ** 2)

    moderated = error(attacks.moderated_variance(10))
    assert moderated < 0.8 * min(error(attacks.own_variance), error(attacks.shared_variance))


def test_lira_finds_what_the_likelihood_ratio_of_the_true_gaussians_finds():
    """Known means and deviations: Neyman and Pearson's test is the best."""
    generator = np.random.default_rng(0)
    n, count = 4000, 64
    out, gap = generator.normal(0, 3, n), generator.uniform(0, 4, n)
    spread = generator.uniform(0.5, 2, n)
    halves = np.stack([generator.permutation(n) < n // 2 for _ in range(count // 2 + 1)])
    members = np.concatenate([halves, ~halves[1:]])
    signals = out + gap * members + spread * generator.normal(size=members.shape)
    target, inside = signals[0], members[0]
    exact = stats.norm.logpdf(target, out + gap, spread) - stats.norm.logpdf(target, out, spread)
    scores = attacks.lira_online(target, signals[1:], members[1:])
    best, found = operating.auc(exact, inside), operating.auc(scores, inside)
    # Means and variances of 32 shadows cost a little; two standard errors of 0.007.
    assert best - 0.014 < found < best + 0.005
    assert operating.auc(target, inside) < found - 0.1
    assert np.corrcoef(scores, exact)[0, 1] > 0.95


def rmia_by_hand(target, signals, members, population, a):
    ratios = []
    for i in range(len(target)):
        mean = np.mean(sides(signals, members, i)[1])
        ratios.append(target[i] / ((1 + a) / 2 * mean + (1 - a) / 2))
    chosen = [ratio for ratio, inside in zip(ratios, population, strict=True) if inside]
    counts = [sum(ratio / other >= 1 for other in chosen) for ratio in ratios]
    # The place between two of the population, a share of a step.
    steps = [ratio / (1 + ratio) for ratio in ratios]
    return [(c + s) / (len(chosen) + 1) for c, s in zip(counts, steps, strict=True)]


def probabilities(seed=0, n=40, count=4):
    """Probabilities of members and of a population that nothing was trained on."""
    _, _, members = shadows(seed, n, count)
    hard = np.linspace(-3, 3, 2 * n)
    population = np.arange(2 * n) >= n
    members = np.pad(members, ((0, 0), (0, n)))
    noise = np.random.default_rng(seed).normal(size=(count + 1, 2 * n)) / 2
    inside = np.concatenate([[np.arange(2 * n) % 4 == 0], members])
    inside[0] &= ~population
    values = 1 / (1 + np.exp(-(np.resize(hard, 2 * n) + noise + 2 * inside)))
    return values[0], values[1:], members, population, inside[0]


@pytest.mark.parametrize("offset", [0, 0.3, 1])
def test_rmia_is_its_loop(offset):
    target, signals, members, population, _ = probabilities()
    found = attacks.rmia(target, signals, members, population, offset=offset)
    expected = rmia_by_hand(target, signals, members, population, offset)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_rmia_keeps_the_population_even():
    target, signals, members, population, inside = probabilities()
    scores = attacks.rmia(target, signals, members, population, offset=0.5)
    size = population.sum()
    ranks = np.floor(np.sort(scores[population]) * (size + 1))
    np.testing.assert_array_equal(ranks, np.arange(1, size + 1))
    assert operating.auc(scores[~population], inside[~population]) > 0.7


def test_rmia_offset_is_the_best_against_the_reference_models():
    _, signals, members, population, _ = probabilities()
    strengths = []
    for a in np.arange(11) / 10:
        areas = []
        for held in range(len(signals)):
            rest = [s for s in range(len(signals)) if s != held]
            mean = np.array([np.mean(sides(signals[rest], members[rest], i)[1]) for i in range(80)])
            ratios = signals[held] / ((1 + a) / 2 * mean + (1 - a) / 2)
            test = stats.mannwhitneyu(ratios[members[held]], ratios[~members[held]])
            areas.append(test.statistic / (20 * 60))
        strengths.append(np.mean(areas))
    found = attacks.rmia_offset(signals, members, population)
    assert found == np.argmax(strengths) / 10


def test_rmia_offset_with_a_pair_of_complements():
    """Where one was trained on what the other was not, the population stands beside."""
    _, signals, members, population, _ = probabilities(count=2)
    assert 0 <= attacks.rmia_offset(signals, members, population) <= 1


def test_quantile_regression_learns_a_quantile_that_depends_on_features():
    generator = np.random.default_rng(0)
    features = generator.uniform(-1, 1, (600, 1))
    inside = np.arange(600) < 200
    spread = np.exp(features[:, 0])
    target = 3 * features[:, 0] + spread * (generator.normal(size=600) + 1.5 * inside)
    population = np.arange(600) >= 400
    scores = attacks.quantile_regression(
        target, features, population, jax.random.key(0), false_positives=0.1
    )
    # A share of 0.1 of 200 examples has a standard deviation of 0.021.
    assert abs(np.mean(scores[population] > 0) - 0.1) < 0.02
    assert abs(np.mean(scores[200:400] > 0) - 0.1) < 0.065
    audited = slice(0, 400)
    found = operating.auc(scores[audited], inside[audited])
    assert found > operating.auc(target[audited], inside[audited]) + 0.05


def test_shadow_classifier_learns_what_differs_by_class():
    """Members have a high output in class 0, in class 1, of fewer rows, a low one."""
    generator = np.random.default_rng(0)
    n, count = 90, 6
    labels = (np.arange(n) >= 60).astype(np.int32)
    halves = np.stack([generator.permutation(n) < n // 2 for _ in range(3)])
    members = np.concatenate([halves, ~halves])
    inside = generator.permutation(n) < n // 2
    sign = np.where(labels == 0, 2.0, -2.0)
    every = np.concatenate([[inside], members])
    outputs = (every * sign)[..., None] + generator.normal(size=(count + 1, n, 2))
    scores = attacks.shadow_classifier(outputs[0], outputs[1:], members, labels, jax.random.key(0))
    for each in (0, 1):
        chosen = labels == each
        best = operating.auc((outputs[0, :, 0] * sign)[chosen], inside[chosen])
        assert operating.auc(scores[chosen], inside[chosen]) > best - 0.06 > 0.8


def test_loss_threshold_is_that_of_the_mean_training_loss():
    losses = np.array([0.0, 0.2, 0.7, 0.1, 0.9, 0.25])
    members = np.array([True, True, True, False, False, False])
    found = attacks.loss_threshold(losses, members)
    # The mean of 0, 0.2 and 0.7 is 0.3: two members below, two others below.
    expected = (0.3, 2 / 3, 2 / 3, 0.0, 0.5)
    np.testing.assert_allclose(found, expected, atol=1e-15)


ATTACKS = {
    "uncalibrated": lambda t, s, m: attacks.uncalibrated(t, s, m),
    "calibrated": attacks.calibrated,
    "online": attacks.lira_online,
    "own": lambda t, s, m: attacks.lira_online(t, s, m, variance=attacks.own_variance),
    "offline": attacks.lira_offline,
    "rmia": lambda t, s, m: attacks.rmia(
        *(
            1 / (1 + np.exp(-np.pad(each, ((0, 0),) * (each.ndim - 1) + ((0, 9),))))
            for each in (t, s)
        ),
        np.pad(m, ((0, 0), (0, 9))),
        np.arange(t.size + 9) >= t.size,
        offset=0.5,
    )[: t.size],
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_where_members_are_swapped_no_attack_beats_chance(attack):
    """Signals that membership plays no part in, and that differ by example."""
    generator = np.random.default_rng(0)
    n, count = 2000, 16
    halves = np.stack([generator.permutation(n) < n // 2 for _ in range(count // 2)])
    members = np.concatenate([halves, ~halves])
    signals = generator.normal(0, 2, n) + generator.normal(size=(count + 1, n))
    inside = generator.permutation(n) < n // 2
    result = membership.audit(attack(signals[0], signals[1:], members), inside, rates=(0.01,))
    assert result.chance > 0.01
    assert result.verdict.startswith("no better than chance")


TARGET, SIGNALS, MEMBERS = shadows()
NEVER = MEMBERS & (np.arange(N) != 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: attacks.lira_online(TARGET, SIGNALS, NEVER),
            r"lira_online\(members\): 1 of 12 examples, the first is 3, have 0 of 6 shadow models"
            " trained on them, and 1 is the least",
        ),
        (
            lambda: attacks.lira_online(TARGET, SIGNALS, ~NEVER),
            r"lira_online\(members\): .* 0 of 6 shadow models trained without",
        ),
        (
            lambda: attacks.calibrated(TARGET, SIGNALS, MEMBERS | True),
            r"calibrated\(members\): 12 of 12 examples, .* without",
        ),
        (
            lambda: attacks.lira_online(TARGET, SIGNALS[:2], MEMBERS[:2]),
            r"shared_variance\(inside\) has one shadow model per example",
        ),
        (
            lambda: attacks.lira_online(
                TARGET, SIGNALS[:2], MEMBERS[:2], variance=attacks.own_variance
            ),
            r"own_variance\(inside\): example 0 has 1 shadow models .* 2 is the least",
        ),
        (
            lambda: attacks.lira_online(TARGET[:5], SIGNALS, MEMBERS),
            r"target of 5, signals of 12, members of 12 examples",
        ),
        (
            lambda: attacks.lira_online(np.where(TARGET > 5, np.nan, TARGET), SIGNALS, MEMBERS),
            r"lira_online\(target\): \d of 12 values are not finite",
        ),
        (
            lambda: attacks.rmia(TARGET, SIGNALS, MEMBERS, NEVER[0], offset=0.5),
            r"rmia\(target\) must be probabilities",
        ),
        (
            lambda: attacks.rmia(*probabilities()[:3], np.ones(80, bool), offset=0.5),
            r"rmia\(population\): 40 of its examples, the first is 0, were trained on",
        ),
        (
            lambda: attacks.rmia_offset(*(each[:1] for each in probabilities()[1:3]), NEVER[0]),
            r"rmia_offset\(signals\) has one reference model, and two are the least",
        ),
        (
            lambda: attacks.quantile_regression(TARGET, SIGNALS.T, NEVER[0], jax.random.key(0)),
            r"population of \d, false_positives=0.01\) needs 100 non-members",
        ),
        (
            lambda: attacks.loss_threshold(TARGET, np.ones(N, bool)),
            r"loss_threshold\(members\) holds no non-members among 12",
        ),
    ],
)
def test_what_cannot_be_attacked_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
