"""Attribute inference by hand, and on models that did and did not learn by heart."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.validate import wilson
from jaxcompress.validate.privacy import attribute_audit, candidate_losses
from jaxcompress.validate.privacy.attributes import _newcombe


def linear(params, x):
    return x @ params


def squared(outputs, targets):
    return (outputs - targets) ** 2


def population(n: int, seed: int = 0):
    """Records (bit, noise, noise), targets that depend on the bit, and members."""
    rng = np.random.default_rng(seed)
    bits = rng.random(n) < 0.3
    x = np.stack([bits, rng.normal(size=n), rng.normal(size=n)], axis=1).astype(np.float32)
    y = (x @ [1.0, 0.5, -0.5] + 0.5 * rng.normal(size=n)).astype(np.float32)
    return x, y, bits.astype(int), rng.random(n) < 0.5


def with_bits(x):
    return [jnp.asarray(x).at[:, 0].set(value) for value in (0.0, 1.0)]


def test_losses_are_those_of_a_loop():
    x, y, _, _ = population(7)
    weights = jnp.array([1.0, 2.0, 3.0])
    found = candidate_losses(linear, weights, with_bits(x), y, squared, batch_size=3)
    for i in range(7):
        for value in (0, 1):
            row = np.array([value, x[i, 1], x[i, 2]])
            expected = (row @ np.array([1.0, 2.0, 3.0]) - y[i]) ** 2
            assert found[i, value] == pytest.approx(expected, rel=1e-5)


def test_guesses_by_hand():
    # Two of four members right, one of two others; the prior turns the fourth guess.
    losses = [[0, 1], [1, 0], [0, 1], [0.5, 0.4], [0, 1], [0, 1]]
    truth, members = [0, 1, 1, 1, 0, 1], [1, 1, 1, 1, 0, 0]
    flat = attribute_audit(losses, truth, members, prior=[1, 1])
    assert (flat.member_accuracy, flat.nonmember_accuracy) == (0.75, 0.5)
    turned = attribute_audit(losses, truth, members, prior=[2, 1])
    assert turned.member_accuracy == 0.5
    assert turned.baseline_accuracy == 0.25
    assert turned.advantage == 0.25
    assert turned.leakage == 0.0
    assert turned.member_interval == wilson(2, 4)
    assert turned.to_json()["leaks"] is False


def test_what_the_population_tells_is_not_leakage():
    """The true weights: the model knows of members what it knows of anyone."""
    x, y, bits, members = population(3000)
    losses = candidate_losses(linear, jnp.array([1.0, 0.5, -0.5]), with_bits(x), y, squared)
    audit = attribute_audit(losses / (2 * 0.5**2), bits, members)
    assert audit.advantage_interval[0] > 0
    low, high = audit.leakage_interval
    assert low < 0 < high
    assert not audit.leaks


def test_what_was_learnt_by_heart_is_leakage():
    """A model that answers members with their target, at their own bit alone."""
    x, y, bits, members = population(600)
    known = jnp.asarray(np.where(members, y, 0.0))

    def by_heart(params, inputs):
        rows, bit = inputs
        return jnp.where(rows[:, 0] == bit, params, 0.0)

    own = jnp.asarray(bits, jnp.float32)
    losses = np.stack([squared(by_heart(known, (each, own)), y) for each in with_bits(x)], axis=1)
    audit = attribute_audit(losses * 50, bits, members)
    assert audit.leaks
    assert audit.member_accuracy > 0.9 > audit.nonmember_accuracy


def test_a_model_that_ignores_the_feature_is_the_baseline():
    _, y, bits, members = population(200)
    losses = np.repeat(y[:, None] ** 2, 2, axis=1)
    audit = attribute_audit(losses, bits, members)
    assert audit.advantage == 0
    assert audit.member_accuracy == audit.baseline_accuracy


def test_the_interval_of_a_difference_is_newcombes():
    """His table II, (a): 56 of 70 and 48 of 80, method 10."""
    low, high = _newcombe(56 / 70, wilson(56, 70), 48 / 80, wilson(48, 80))
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"losses": np.ones((10, 1))}, "at least two values"),
        ({"losses": np.full((10, 2), np.nan)}, "20 of 20 values are not finite"),
        ({"truth": np.full(10, 2)}, r"10 integers in \[0, 2\)"),
        ({"truth": np.zeros(9, int)}, r"truth of shape \(9,\)\) needs 10"),
        ({"members": np.ones(10)}, "10 of 10 are in"),
        ({"prior": [1.0]}, r"prior of shape \(1,\)\) needs 2"),
        ({"prior": [1.0, 0.0]}, "finite numbers above 0"),
    ],
)
def test_impossible_records_are_refused(change, message):
    given = {
        "losses": np.ones((10, 2)),
        "truth": np.arange(10) % 2,
        "members": np.arange(10) < 5,
    }
    with pytest.raises(ValueError, match=rf"attribute_audit\(.*{message}|{message}"):
        attribute_audit(**given | change)


def test_candidates_of_one_value_or_of_other_losses_are_refused():
    x, y, _, _ = population(4)
    with pytest.raises(ValueError, match=r"1 values\) needs at least two"):
        candidate_losses(linear, jnp.ones(3), with_bits(x)[:1], y, squared)
    with pytest.raises(ValueError, match="one number per record"):
        candidate_losses(
            linear, jnp.ones(3), with_bits(x), y, lambda out, y: jnp.stack([out, y], 1)
        )
