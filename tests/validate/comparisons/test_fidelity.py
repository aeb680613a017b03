"""Fidelity of outputs and layers against plain NumPy, by hand and through a scan."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxcompress as jc
from jaxcompress.validate.comparisons import (
    cosine,
    divergence,
    fidelity,
    layer_fidelity,
    top_k_overlap,
)
from jaxcompress.validate.skewed import skewed_mean_interval


def logits(seed, shape=(12, 5)):
    return np.random.default_rng(seed).normal(size=shape)


def softmax(x):
    each = np.exp(x - x.max(-1, keepdims=True))
    return each / each.sum(-1, keepdims=True)


def test_figures_of_each_example_are_their_formulas():
    before, after = logits(0), logits(1)
    expected = [stats.entropy(p, q) for p, q in zip(softmax(before), softmax(after), strict=True)]
    np.testing.assert_allclose(divergence(before, after), expected, rtol=1e-9)
    angles = [a @ b / math.hypot(*a) / math.hypot(*b) for a, b in zip(before, after, strict=True)]
    np.testing.assert_allclose(cosine(before, after), angles, rtol=1e-9)
    for k in (1, 3, 5):
        shared = [
            len(set(np.argsort(a)[-k:]) & set(np.argsort(b)[-k:])) / k
            for a, b in zip(before, after, strict=True)
        ]
        np.testing.assert_allclose(top_k_overlap(before, after, k), shared)


def test_equal_outputs_are_at_the_end_of_every_scale():
    x = logits(0)
    found = fidelity(x, x)
    assert (found.agreement, found.divergence, found.largest) == (1.0, 0.0, 0.0)
    assert (found.relative_error, found.snr_db) == (0.0, math.inf)
    assert (found.cosine, found.top_k) == (1.0, 1.0)
    json.dumps(found.to_json(), allow_nan=False)


def test_classes_that_are_ruled_out_and_outputs_of_nothing():
    assert divergence([[0.0, -np.inf]], [[1.0, -np.inf]]).tolist() == [0.0]
    assert divergence([[0.0, 0.0]], [[0.0, -np.inf]]).tolist() == [math.inf]
    assert cosine([[0.0, 0.0]], [[0.0, 0.0]]).tolist() == [1.0]
    assert cosine([[0.0, 0.0]], [[1.0, 0.0]]).tolist() == [0.0]


def test_the_summary_counts_tokens_as_outputs():
    before, after = logits(0, (4, 3, 5)), logits(1, (4, 3, 5))
    found = fidelity(before, after, k=9)
    assert (found.n, found.k) == (12, 5)
    flat = [each.reshape(12, 5) for each in (before, after)]
    np.testing.assert_allclose(found.divergence_interval, skewed_mean_interval(divergence(*flat)))
    np.testing.assert_allclose(found.agreement, np.mean(before.argmax(-1) == after.argmax(-1)))
    ratio = np.sum(before**2) / np.sum((before - after) ** 2)
    np.testing.assert_allclose(found.snr_db, 10 * math.log10(ratio))
    assert found.largest == np.abs(before - after).max()
    assert found.finding().topic == "comparison with the original"


def mlp(params, x):
    return jnp.tanh(x @ params["in"] + params["bias"][None]) @ params["out"]


PARAMS = {
    "bias": jnp.array([0.1, -0.2, 0.3, 0.0], jnp.float32),
    "in": jnp.asarray(logits(2, (3, 4)), jnp.float32),
    "out": jnp.asarray(logits(3, (4, 2)), jnp.float32),
}
X = np.asarray(logits(4, (10, 3)), np.float32)


def relative(change, reference):
    return np.linalg.norm(change) / np.linalg.norm(reference)


def test_layers_of_quantized_params_by_hand():
    coarse, _ = jc.quantize.quantize(PARAMS, jc.quantize.int4())
    rows = layer_fidelity(mlp, PARAMS, coarse, X, batch_size=4)
    assert [(row.name, row.turns, row.primitive) for row in rows] == [
        ("in", (), "dot_general"),
        ("out", (), "dot_general"),
    ]
    before = {name: np.asarray(leaf, np.float64) for name, leaf in PARAMS.items()}
    after = {name: np.asarray(leaf, np.float64) for name, leaf in jc.materialize(coarse).items()}
    hidden = [np.tanh(X @ each["in"] + each["bias"]) for each in (before, after)]
    pairs = {
        "in": (X @ before["in"], X @ after["in"], X @ after["in"]),
        "out": (hidden[0] @ before["out"], hidden[1] @ after["out"], hidden[0] @ after["out"]),
    }
    for row in rows:
        was, now, own = pairs[row.name]
        # Sums of squares in float32, of errors that are some percent of the outputs.
        np.testing.assert_allclose(row.relative_error, relative(now - was, was), rtol=1e-4)
        np.testing.assert_allclose(row.own_error, relative(own - was, was), rtol=1e-4)
        angle = np.sum(was * now) / np.linalg.norm(was) / np.linalg.norm(now)
        np.testing.assert_allclose(row.cosine, angle, rtol=1e-5)
        assert json.loads(json.dumps(row.to_json()))["turns"] == []


def test_layers_in_a_scan_come_turn_by_turn():
    def model(params, x):
        def block(x, p):
            return x + jnp.tanh(x @ p["up"]) @ p["down"], None

        return jax.lax.scan(block, x @ params["in"], params["blocks"])[0] @ params["head"]

    def init(seed):
        shapes = {"in": (3, 4), "blocks": {"up": (2, 4, 5), "down": (2, 5, 4)}, "head": (4, 2)}
        leaves, tree = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))
        arrays = [jnp.asarray(logits(seed + i, each), jnp.float32) for i, each in enumerate(leaves)]
        return tree.unflatten(arrays)

    params = init(5)
    # In the second turn alone something changes.
    up = params["blocks"]["up"]
    other = params | {"blocks": params["blocks"] | {"up": up.at[1].multiply(1.1)}}
    rows = layer_fidelity(model, params, other, X)
    assert [(row.name, row.turns) for row in rows] == [
        ("in", ()),
        ("blocks/up", (0,)),
        ("blocks/down", (0,)),
        ("blocks/up", (1,)),
        ("blocks/down", (1,)),
        ("head", ()),
    ]
    errors = [row.relative_error for row in rows]
    assert errors[:3] == [0.0, 0.0, 0.0]
    np.testing.assert_allclose((errors[3], rows[3].own_error), 0.1, rtol=1e-4)
    assert errors[4] > 0
    assert errors[5] > 0
    assert [row.own_error for row in rows[4:]] == [0.0, 0.0]


def test_what_has_no_layers_in_common_is_refused_by_name():
    with pytest.raises(ValueError, match=r"layer_fidelity\(candidate\) needs the leaves"):
        layer_fidelity(mlp, PARAMS, {"in": PARAMS["in"]}, X)
    narrow = PARAMS | {"in": PARAMS["in"][:, :2]}
    with pytest.raises(ValueError, match=r"leaf 'in' has shape \(3, 2\), in the params \(3, 4\)"):
        layer_fidelity(mlp, PARAMS, narrow, X)
    with pytest.raises(ValueError, match="no weight meets data"):
        layer_fidelity(lambda params, x: x + 1, PARAMS, PARAMS, X)
    with pytest.raises(ValueError, match=r"fidelity\(reference\): 1 of 4 values are not finite"):
        fidelity([[1.0, math.nan], [0.0, 0.0]], np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"top_k_overlap\(k=3\) must be at most"):
        top_k_overlap(np.zeros((2, 2)), np.zeros((2, 2)), 3)
    with pytest.raises(ValueError, match="needs one shape for both"):
        divergence(np.zeros((2, 2)), np.zeros((2, 3)))
