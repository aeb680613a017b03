"""Weights of losses: the norms, the update in plain NumPy, where it settles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc

weighting = jc.distill.weighting
PAIR = weighting.balanced([1, 1])
EPS = float(np.finfo(np.float32).eps)


def by_hand(losses, norms, weights, first, shares, alpha, rate):
    """One update, loss by loss."""
    pace = [loss / begun for loss, begun in zip(losses, first, strict=True)]
    pace = [each / (sum(pace) / len(pace)) for each in pace]
    paced = [share * each**alpha for share, each in zip(shares, pace, strict=True)]
    sizes = [weight * norm for weight, norm in zip(weights, norms, strict=True)]
    mean = sum(sizes) / len(sizes)
    found = []
    for weight, size, each in zip(weights, sizes, paced, strict=True):
        target = mean * each * len(paced) / sum(paced)
        found.append(weight * np.exp(np.clip(np.log(target / size), -rate, rate)))
    return np.array(found) * len(found) / sum(found)


@pytest.mark.parametrize(("alpha", "rate"), [(0.0, 0.025), (1.5, 0.3), (0.5, 9.0)])
def test_an_update_equals_the_loop(alpha, rate):
    generator = np.random.default_rng(0)
    shares = [1.0, 2.0, 0.5]
    balance = weighting.balanced(shares, alpha=alpha, rate=rate)
    traces, state = [], balance.init()

    @jax.jit
    def update(losses, norms, state):
        traces.append(None)
        return balance.update(losses, norms, state)

    weights, first = np.ones(3), None
    for _ in range(4):
        losses, norms = generator.uniform(0.1, 2, (2, 3)).astype(np.float32)
        first = losses if first is None else first
        weights = by_hand(losses, norms, weights, first, shares, alpha, rate)
        state = update(losses, norms, state)
        np.testing.assert_allclose(state.weights, weights, rtol=100 * EPS)
    assert len(traces) == 1


def test_sizes_settle_at_their_shares():
    shares, norms = [0.7, 0.2, 0.1], jnp.array([1e-3, 1.0, 50.0])
    balance = weighting.balanced(shares, rate=0.5)

    def step(state, _):
        return balance.update(jnp.ones(3), norms, state), None

    state, _ = jax.lax.scan(step, balance.init(), None, 60)
    sizes = state.weights * norms
    np.testing.assert_allclose(sizes / sizes.sum(), shares, rtol=1e-4)
    np.testing.assert_allclose(state.weights.sum(), 3, rtol=4 * EPS)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_changes_nothing(bad):
    balance = weighting.balanced([1, 1], alpha=1.0)
    losses, norms = jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])
    before = balance.update(losses, norms, balance.init())
    for given in ((losses.at[0].set(bad), norms), (losses, norms.at[1].set(bad))):
        after = balance.update(*given, before)
        assert jax.tree.map(np.array_equal, after, before) == (True, True)


def test_a_loss_without_gradient_keeps_its_weight_but_for_the_scaling():
    balance = weighting.balanced([1, 1], rate=1.0)
    state = balance.update(jnp.zeros(2), jnp.array([0.0, 2.0]), balance.init())
    by = np.exp(np.log(0.5))  # the mean of the sizes, 1, over 2
    np.testing.assert_allclose(state.weights, np.array([1, by]) * 2 / (1 + by), rtol=8 * EPS)


def test_norms_are_those_of_each_gradient_alone(key):
    params = {
        "trunk": jax.random.normal(key, (3, 4), jnp.bfloat16),
        "head": jnp.ones((4, 2)),
        "steps": jnp.int32(3),
    }

    def losses(params):
        hidden = jnp.tanh(params["trunk"].astype(jnp.float32))
        return jnp.stack([jnp.mean((hidden @ params["head"]) ** 2), 5 * jnp.mean(hidden)])

    for names in (("trunk",), ("trunk", "head")):
        select = jc.matching(*names)
        values, norms = jax.jit(
            lambda params, s=select: weighting.gradient_norms(losses, params, select=s)
        )(params)
        np.testing.assert_allclose(values, losses(params), rtol=8 * EPS)
        for number, norm in enumerate(norms):
            trained, rest = jc.partition(params, select)
            grads = jax.grad(lambda t, r=rest, n=number: losses(jc.combine(t, r))[n])(trained)
            squares = [np.sum(np.asarray(each, np.float64) ** 2) for each in jax.tree.leaves(grads)]
            np.testing.assert_allclose(norm, np.sqrt(sum(squares)), rtol=32 * EPS)
    _, every = weighting.gradient_norms(losses, params)
    np.testing.assert_allclose(every, norms, rtol=8 * EPS)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: weighting.balanced([1]), ValueError, "needs two shares or more"),
        (lambda: weighting.balanced([1, 0]), ValueError, r"balanced\(shares=0\) must be above 0"),
        (
            lambda: PAIR.update(jnp.ones(3), jnp.ones(2), PAIR.init()),
            TypeError,
            r"update\(losses of shape \(3,\)\) needs one number for each of 2",
        ),
        (
            lambda: weighting.gradient_norms(lambda p: p.sum(), jnp.ones(2)),
            TypeError,
            r"gradient_norms\(losses\) gives .* Stack their means",
        ),
        (
            lambda: weighting.gradient_norms(lambda p: p, jnp.arange(2)),
            ValueError,
            "selects no leaf",
        ),
    ],
)
def test_errors_name_what_is_wrong(call, error, said):
    with pytest.raises(error, match=said):
        call()
