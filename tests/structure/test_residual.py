"""Residual blocks that are passed by: what counts as one, and what is left."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.graph.surgery import residual_blocks, with_block_gates
from jaxcompress.structure import remove_blocks
from jaxcompress.structure.importance import exact_blocks
from tests.inputs import on_device


def normal(seed: int, *shape: int) -> jax.Array:
    return on_device(np.random.default_rng(seed).normal(size=shape))


def branch(w, x):
    return jax.nn.relu(x @ w["in"] + w["bias"][None]) @ w["out"]


def fn(params, x):
    """A stem, three pre-norm blocks (one compiled, one rematerialised), a head."""
    x = x @ params["stem"]
    x = x + branch(params["layers"][0], x - x.mean(-1, keepdims=True))
    x = x + jax.jit(branch)(params["layers"][1], x)
    x = jax.checkpoint(lambda w, x: branch(w, x) + x)(params["layers"][2], x)
    return x @ params["head"]


def layer(seed: int):
    return {"in": normal(seed, 4, 6), "bias": normal(seed + 1, 6), "out": normal(seed + 2, 6, 4)}


PARAMS = {
    "stem": normal(0, 3, 4),
    "layers": [layer(1), layer(4), layer(7)],
    "head": normal(10, 4, 2),
}
X = normal(11, 5, 3)
NAMES = ["layers/0", "layers/1", "layers/2"]


def without(params, x, gone):
    x = x @ params["stem"]
    for index, w in enumerate(params["layers"]):
        if index not in gone:
            x = x + branch(w, x - x.mean(-1, keepdims=True) if index == 0 else x)
    return x @ params["head"]


def squares(outputs, targets):
    return ((outputs - targets) ** 2).sum(-1)


def by_number(*worth):
    return lambda fn, params, x: dict(zip(NAMES, map(jnp.float32, worth), strict=True))


def test_blocks_are_found_in_calls_too():
    found = residual_blocks(fn, PARAMS, X)
    assert [block.name for block in found] == NAMES
    assert found[1].leaves == ("layers/1/bias", "layers/1/in", "layers/1/out")
    assert all("test_residual.py" in block.source for block in found)


@pytest.mark.parametrize(
    "model",
    [
        lambda p, x: x @ p["stem"] + jnp.tanh(x @ p["stem"]) @ p["layers"][0]["in"][:, :4],
        lambda p, x: (x + x.mean(-1, keepdims=True)) @ p["stem"],
        lambda p, x: (x + x) @ p["stem"],
        lambda p, x: x @ p["stem"] + p["layers"][0]["bias"][None, :4],
    ],
    ids=["a projection beside it", "no leaves of its own", "the same value twice", "a bias"],
)
def test_what_is_no_block(model):
    assert residual_blocks(model, PARAMS, X) == ()


def test_a_leaf_read_elsewhere_belongs_to_no_block():
    def tied(params, x):
        x = x + x @ params["shared"]
        return x + (x @ params["shared"]) @ params["own"]

    params = {"shared": normal(1, 3, 3), "own": normal(2, 3, 3)}
    assert [block.leaves for block in residual_blocks(tied, params, X)] == [("own",)]


@pytest.mark.parametrize("gone", [(0,), (1,), (2,), (0, 1, 2)])
def test_gates_pass_blocks_by(gone):
    gates = {name: index not in gone for index, name in enumerate(NAMES)}
    outputs = with_block_gates(fn)(PARAMS, X, gates=gates)
    np.testing.assert_allclose(outputs, without(PARAMS, X, gone), rtol=1e-5)


def test_exact_scores_are_differences_of_the_loss():
    targets = normal(12, 5, 2)
    scores = exact_blocks(squares, [(X[:3], targets[:3]), (X[3:], targets[3:])])(fn, PARAMS, X)
    loss = squares(fn(PARAMS, X), targets).mean()
    for index, name in enumerate(NAMES):
        rise = squares(without(PARAMS, X, (index,)), targets).mean() - loss
        np.testing.assert_allclose(scores[name].value, rise, rtol=1e-4)
        assert int(scores[name].count) == 5


def test_removal_leaves_a_smaller_program_with_gradients():
    bypassed = remove_blocks(fn, PARAMS, by_number(2, 1, 3), X, count=2)
    assert bypassed.report.removed == ("layers/0", "layers/1")
    assert bypassed.report.to_skipped <= 1e-6
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(w)) for w in bypassed.params["layers"]]
    assert sizes == [0, 0, 54]
    assert jax.tree.structure(bypassed.params) == jax.tree.structure(PARAMS)
    more = normal(13, 7, 3)
    run = jax.jit(bypassed.fn)
    np.testing.assert_allclose(
        run(bypassed.params, more), without(PARAMS, more, (0, 1)), rtol=1e-5, atol=1e-5
    )
    slope = jax.grad(lambda params: run(params, X).sum())(bypassed.params)
    whole = jax.grad(lambda params: without(params, X, (0, 1)).sum())(PARAMS)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4),
        (slope["stem"], slope["layers"][2]),
        (whole["stem"], whole["layers"][2]),
    )


def test_a_block_that_no_data_reaches_has_no_score_and_stays():
    def masked(params, x):
        x = x + jnp.tanh(x @ params["used"])
        x = x + (0 * x) @ params["rare"]
        return x + jnp.sin(x @ params["last"])

    params = {name: normal(i, 3, 3) for i, name in enumerate(("used", "rare", "last"))}
    scores = exact_blocks(squares, [(X, X)])(masked, params, X)
    assert {name: int(each.count) for name, each in scores.items()} == {
        "used": 5,
        "rare": 0,
        "last": 5,
    }
    report = remove_blocks(masked, params, lambda *_: scores, X, count=2).report
    assert report.removed == ("used", "last")
    assert "rare  unknown  kept     no data reached it" in str(report)
    message = r"remove_blocks\(count=3\): 2 of 3 parts have scores, and of rare nothing is known"
    with pytest.raises(ValueError, match=message):
        remove_blocks(masked, params, lambda *_: scores, X, count=3)


def test_the_cost_of_what_went_is_not_counted():
    bypassed = remove_blocks(fn, PARAMS, by_number(1, 2, 3), X, count=1)
    before, after = (
        jc.graph.cost(jc.graph.trace(f, p, X)).macs
        for f, p in ((fn, PARAMS), (bypassed.fn, bypassed.params))
    )
    assert before - after == 5 * (4 * 6 + 6 * 4)


def test_units_can_go_from_what_is_left():
    bypassed = remove_blocks(fn, PARAMS, by_number(1, 2, 3), X, count=1)
    removed = jc.structure.remove(
        bypassed.fn,
        bypassed.params,
        jc.structure.importance.magnitude(),
        X,
        cut=jc.structure.Cut(jc.structure.amounts.fraction(0.5), families=["layers/1*"]),
    )
    assert removed.params["layers"][1]["in"].shape == (4, 3)
    assert removed.report.to_masked <= 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: remove_blocks(fn, PARAMS, by_number(1, 2, 3), X, count=4),
            r"remove_blocks\(count=4\): the model has 3 residual blocks: layers/0",
        ),
        (
            lambda: remove_blocks(fn, PARAMS, by_number(1, np.nan, 3), X, count=1),
            r"scores 'layers/1' as nan",
        ),
        (
            lambda: remove_blocks(fn, PARAMS, lambda *_: {"layers/0": 1.0}, X, count=1),
            "scores no block 'layers/1'",
        ),
        (
            lambda: with_block_gates(fn)(PARAMS, X, gates={"layers/9": True}),
            r"with_block_gates\(gates=...\): no block is named 'layers/9'. Blocks: layers/0",
        ),
    ],
)
def test_errors_name_the_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()
