"""Several targets from one training, and several versions attacked together."""

import numpy as np
import pytest
from scipy import stats

from jaxcompress.validate import membership
from jaxcompress.validate.membership import attacks, operating


def drawn(seed=0, n=40, count=8, rest=()):
    generator = np.random.default_rng(seed)
    halves = np.stack([generator.permutation(n) < n // 2 for _ in range(count // 2)])
    members = np.stack([halves, ~halves], 1).reshape(count, n)
    return generator.normal(size=(count, n, *rest)), members


def test_each_model_is_the_target_once_without_its_complement():
    signals, members = drawn()
    seen = []

    def attack(target, others, inside):
        seen.append((target, others, inside))
        return attacks.lira_online(target, others, inside)

    found = membership.leave_one_out(attack, membership.Shadows(signals, members))
    np.testing.assert_array_equal(found.members, members)
    for i, (target, others, inside) in enumerate(seen):
        rest = [s for s in range(8) if s not in (i, i ^ 1)]
        np.testing.assert_array_equal(target, signals[i])
        np.testing.assert_array_equal(others, signals[rest])
        # Members and others of the target have equally many models on either side.
        assert set(inside.sum(0)) == {3}
        expected = attacks.lira_online(signals[i], signals[rest], members[rest])
        np.testing.assert_array_equal(found.scores[i], expected)


def test_some_of_the_models_as_targets():
    shadows = membership.Shadows(*drawn())
    whole = membership.leave_one_out(attacks.lira_online, shadows)
    some = membership.leave_one_out(attacks.lira_online, shadows, targets=[5, 0])
    np.testing.assert_array_equal(some.scores, whole.scores[[5, 0]])
    np.testing.assert_array_equal(some.members, whole.members[[5, 0]])


def test_a_population_is_asked_and_not_counted():
    signals, members = drawn()
    population = np.arange(50) >= 40
    padded = np.pad(members, ((0, 0), (0, 10)))
    values = np.pad(signals, ((0, 0), (0, 10)), constant_values=0.3)

    def attack(target, others, inside):
        p, q = (1 / (1 + np.exp(-each)) for each in (target, others[:2]))
        return attacks.rmia(p, q, inside[:2], population, offset=0.5)

    found = membership.leave_one_out(attack, membership.Shadows(values, padded))
    assert found.scores.shape == (8, 40)


def test_signals_that_say_nothing_stay_within_chance_over_targets():
    signals, members = drawn(n=1000, count=16)
    attacked = membership.leave_one_out(attacks.lira_online, membership.Shadows(signals, members))
    result = membership.audit(*attacked, rates=(0.01,))
    assert result.targets == 16
    assert result.verdict.startswith("no better than chance")
    # 16 areas of 500 against 500, each with a standard deviation of 0.018.
    assert abs(result.auc - 0.5) < 3 * 0.018 / 4


def joint_by_hand(target, signals, members, shrinkage):
    """Gaussians of two dimensions with scipy; one variance for all examples."""

    def change(each):
        return np.stack([each[..., 0], each[..., 1] - each[..., 0]], -1)

    target, signals = change(target), change(signals)
    densities = []
    for side in (members, ~members):
        means = np.stack([signals[side[:, i], i].mean(0) for i in range(len(target))])
        residuals = np.concatenate([signals[side[:, i], i] - means[i] for i in range(len(target))])
        freedom = len(residuals) - len(target)
        deviations = np.sqrt((residuals**2).sum(0) / freedom)
        correlation = np.corrcoef(residuals.T)
        # Residuals have mean 0 within each example, and so over all.
        shrunk = (1 - shrinkage) * correlation + shrinkage * np.eye(2)
        covariance = shrunk * np.outer(deviations, deviations)
        densities.append(
            [
                stats.multivariate_normal(m, covariance).logpdf(t)
                for m, t in zip(means, target, strict=True)
            ]
        )
    return np.subtract(*densities)


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 1.0])
def test_lira_joint_is_the_ratio_of_gaussians_of_several_dimensions(shrinkage):
    signals, members = drawn(count=10, rest=(2,))
    signals[..., 1] += signals[..., 0]
    signals += members[..., None]
    case = signals[0], signals[2:], members[2:]
    found = attacks.lira_joint(*case, variance=attacks.shared_variance, shrinkage=shrinkage)
    np.testing.assert_allclose(found, joint_by_hand(*case, shrinkage), rtol=1e-8)


def test_one_version_is_lira_online():
    signals, members = drawn(rest=(1,))
    found = attacks.lira_joint(signals[0], signals[2:], members[2:])
    expected = attacks.lira_online(signals[0, :, 0], signals[2:, :, 0], members[2:])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_versions_together_find_what_neither_finds():
    """Large noise that both share, and a difference that membership moves."""
    noise, members = drawn(n=400, count=16, rest=(2,))
    shared = 5 * noise[..., :1]
    signals = shared + 0.3 * noise[..., 1:] * [[[1.0, -1.0]]] + members[..., None] * [[[0.0, 0.6]]]

    def area(attack, columns):
        picked = membership.Shadows(signals[..., columns], members)
        scores, inside = membership.leave_one_out(attack, picked)
        return np.mean([operating.auc(*each) for each in zip(scores, inside, strict=True)])

    alone = max(area(attacks.lira_online, column) for column in (0, 1))
    together = area(attacks.lira_joint, [0, 1])
    # The difference alone has effect 0.6 over deviation 0.6: an area of 0.76.
    assert alone < 0.56
    assert together > 0.7


def test_versions_that_always_agree_add_nothing():
    signals, members = drawn(rest=(1,))
    twice = np.repeat(signals, 2, axis=-1)
    found = attacks.lira_joint(twice[0], twice[2:], members[2:])
    expected = attacks.lira_joint(signals[0], signals[2:], members[2:])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: membership.leave_one_out(
                attacks.lira_online, membership.Shadows(*(each[:2] for each in drawn()))
            ),
            r"leave_one_out\(shadows of 2 models, 40 of 40 examples varying\) needs four",
        ),
        (
            lambda: membership.leave_one_out(
                lambda target, signals, members: target[:5], membership.Shadows(*drawn())
            ),
            r"leave_one_out\(attack\): 5 scores for 40 examples",
        ),
        (
            lambda: membership.leave_one_out(
                attacks.lira_online, membership.Shadows(*drawn()), targets=[0, 8]
            ),
            r"leave_one_out\(targets=\[0, 8\]\) needs indices of models below 8",
        ),
        (
            lambda: attacks.lira_joint(np.ones(3), np.ones((4, 3)), np.ones((4, 3), bool)),
            r"lira_joint\(target=.* needs the shape \(n, versions\)",
        ),
    ],
)
def test_what_cannot_be_attacked_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
