"""Rounds of pruning: what stays gone, what each round begins with, and the controls."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcompress import prune

SAVED = {
    "kernel": jnp.asarray(np.random.default_rng(0).standard_normal((5, 4)), jnp.float32),
    "bias": jnp.ones(4),
}
NOISE = jnp.asarray(np.random.default_rng(1).standard_normal((3, 5, 4)), jnp.float32)
SPARSITIES = [0.2, 0.36, 0.5]


def train(seen):
    """Each round adds its own numbers everywhere, and forgets the masks."""

    def trained(params, masks, turn):
        seen.append((params, masks, turn))
        return {"kernel": params["kernel"] + NOISE[turn], "bias": params["bias"] + 1}

    return trained


def by_numpy(restart):
    """The loop in plain words: the smallest of the survivors go, one by one."""
    w, keep, rounds = np.asarray(SAVED["kernel"]), np.ones((5, 4), bool), []
    for turn, sparsity in enumerate(SPARSITIES):
        while (~keep).sum() < round(sparsity * 20):
            survivors = np.where(keep, np.abs(w), np.inf)
            keep[np.unravel_index(np.argmin(survivors), w.shape)] = False
        rounds.append(keep.copy())
        w = np.where(keep, np.where(keep, restart(w), 0) + np.asarray(NOISE[turn]), 0)
    return w, rounds


RESTARTS = {
    "fine-tuning": (prune.lottery.as_trained, lambda w: w, 3),
    "rewinding": (lambda params, turn: SAVED, lambda w: np.asarray(SAVED["kernel"]), 1),
}


@pytest.mark.parametrize("name", RESTARTS)
def test_rounds_equal_the_plain_loop(name):
    restart, oracle, turns = RESTARTS[name]
    seen = []
    tickets = prune.iterative(
        SAVED, prune.criteria.magnitude(), SPARSITIES, train=train(seen), restart=restart
    )
    w, rounds = by_numpy(oracle)
    np.testing.assert_array_equal(tickets.params["kernel"], w)
    for masks, expected in zip(tickets.rounds, rounds, strict=True):
        np.testing.assert_array_equal(masks["kernel"], expected)
    assert tickets.masks is tickets.rounds[-1]
    assert [turn for _, _, turn in seen] == [0, 1, 2]
    for params, masks, _ in seen:
        np.testing.assert_array_equal(params["kernel"] != 0, masks["kernel"])
    assert tickets.params["bias"].tolist() == [1.0 + turns] * 4


# Scores below 0 for what is there, when 0 would be the best of all.
DOWN = prune.criteria.constant({"kernel": np.arange(-20, 0, dtype=np.float32).reshape(5, 4)})


@pytest.mark.parametrize(
    "criterion", [DOWN, prune.criteria.magnitude()], ids=["negative", "magnitude"]
)
def test_what_is_gone_stays_gone_by_any_criterion(criterion):
    def signed(state, params):
        return jax.tree.map(
            lambda each, w: jnp.where(w == 0, 9.0, each), original(state, params), params
        )

    original = criterion.score
    tickets = prune.iterative(
        SAVED,
        criterion._replace(score=signed),
        SPARSITIES,
        train=lambda params, masks, turn: params,
    )
    kept = [np.asarray(masks["kernel"]) for masks in tickets.rounds]
    assert [20 - mask.sum() for mask in kept] == [4, 7, 10]
    for before, after in itertools.pairwise(kept):
        assert not np.any(after & ~before)


def test_a_ticket_is_trained_by_an_optimizer_that_holds_its_masks():
    def trained(params, masks, turn):
        optimizer = prune.hold(optax.sgd(0.1), masks)
        updates, state = optimizer.update(SAVED, optimizer.init(params), params)
        prune.check(state)
        return optax.apply_updates(params, updates)

    tickets = prune.iterative(
        SAVED,
        prune.criteria.magnitude(),
        [0.5],
        train=trained,
        restart=lambda params, turn: SAVED,
    )
    kernel = jnp.where(tickets.masks["kernel"], SAVED["kernel"] - 0.1 * SAVED["kernel"], 0)
    np.testing.assert_array_equal(tickets.params["kernel"], kernel)


def test_a_shuffled_tree_holds_the_same_numbers():
    mixed = prune.lottery.shuffled(
        SAVED | {"half": jnp.arange(8, dtype=jnp.bfloat16)}, jax.random.key(0)
    )
    assert mixed["half"].dtype == jnp.bfloat16
    assert mixed["kernel"].shape == (5, 4)
    assert mixed["bias"].tolist() == [1.0] * 4
    assert sorted(mixed["half"].tolist()) == list(range(8)) != mixed["half"].tolist()
    assert sorted(mixed["kernel"].ravel().tolist()) == sorted(SAVED["kernel"].ravel().tolist())
    assert not np.array_equal(mixed["kernel"], SAVED["kernel"])


def test_no_round_is_refused():
    with pytest.raises(ValueError, match=r"iterative\(targets=\[\]\) has no round"):
        prune.iterative(SAVED, prune.criteria.magnitude(), [], train=train([]))
