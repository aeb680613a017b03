"""The shortcut: never above nearest on held-out data, and below it at few bits."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.quantize import formats, int4, int8, post_training, rounding
from jaxcompress.quantize.shortcut import Members

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def correlated(*shape):
    """Rows that few directions carry, as hidden features are."""
    return normal(*shape[:-1], 3) @ normal(3, shape[-1]) + 0.3 * normal(*shape)


def dense(params, x):
    return jax.nn.relu(x @ params["in"]) @ params["out"]


def scanned(params, x):
    x, _ = jax.lax.scan(lambda x, w: (x + jnp.tanh(x @ w), None), x, params["layers"])
    return {"logits": x @ params["out"]}


def recurrent(params, x):
    def cell(h, x):
        h = jnp.tanh(x @ params["in"] + h @ params["again"])
        return h, h

    _, hidden = jax.lax.scan(cell, jnp.zeros((x.shape[0], 12)), jnp.swapaxes(x, 0, 1))
    return hidden @ params["out"]


def conv(params, x):
    dimensions = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(
        x, params["kernel"], (1, 1), "SAME", dimension_numbers=dimensions
    )
    return jax.nn.relu(x).mean((1, 2)) @ params["out"]


MODELS = {
    "dense": (dense, {"in": normal(10, 16), "out": normal(16, 5)}, correlated(96, 10)),
    "scanned": (scanned, {"layers": normal(3, 8, 8) / 3, "out": normal(8, 5)}, correlated(96, 8)),
    "recurrent": (
        recurrent,
        {"in": normal(6, 12) / 2, "again": normal(12, 12) / 4, "out": normal(12, 4)},
        correlated(48, 5, 6),
    ),
    "conv": (conv, {"kernel": normal(3, 3, 2, 6), "out": normal(6, 4)}, correlated(48, 5, 5, 2)),
}

_, DENSE, X = MODELS["dense"]


def error(fn, params, quantized, x):
    """On the last quarter, the plainest way."""
    exact, coarse = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(fn(each, x[-(len(x) // 4) :]))])
        for each in (params, jc.materialize(quantized))
    )
    return float(np.sum((exact - coarse) ** 2) / np.sum(exact**2))


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("dense", int4()),
        pytest.param("dense", formats.uint3(), marks=pytest.mark.slow),
        pytest.param("scanned", formats.int3(), marks=pytest.mark.slow),
        pytest.param("conv", int4(), marks=pytest.mark.slow),
        pytest.param("recurrent", int4(), marks=pytest.mark.slow),
        pytest.param("recurrent", formats.uint3(), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_below_nearest_at_few_bits(name, spec):
    fn, params, x = MODELS[name]
    quantized, tried = post_training(fn, params, [x], spec)
    plain, _ = jc.quantize.quantize(params, spec, axes=jc.graph.axes(fn, params, x))
    assert tried.error < tried.trials[0].error
    np.testing.assert_allclose(tried.trials[0].error, error(fn, params, plain, x), rtol=1e-3)
    np.testing.assert_allclose(tried.error, error(fn, params, quantized, x), rtol=1e-3)
    assert {leaf.action for leaf in tried.report.leaves} == {str(spec)}


def test_members_are_replaced_and_what_harms_is_not_kept():
    fn, params, x = MODELS["dense"]
    batches = [x[:32], x[32:64], x[64:]]

    def ruined(fn, params, batches, spec):
        assert len(batches) == 2
        return {**params, "out": -params["out"]}, jc.quantize.explain(params)

    def halved(fn, params, batches, spec):
        moved = {"in": params["in"] * 0.5, "out": params["out"] * 2}
        return moved, jc.quantize.explain(params)

    same = Members(rounding.nearest(), rounding.nearest(), 0.0, (ruined, halved))
    quantized, tried = post_training(fn, params, batches, int4(), same)
    assert tried.chosen == "nearest"
    assert [trial.name for trial in tried.trials][-2:] == [
        "ruined, then rounded on data",
        "halved, then rounded on data",
    ]
    assert all(trial.reason.startswith("not kept") for trial in tried.trials[1:])
    assert tried.error == tried.trials[0].error
    plain, _ = jc.quantize.quantize(params, int4(), axes=jc.graph.axes(fn, params, x))
    np.testing.assert_array_equal(quantized["in"].codes, plain["in"].codes)
    record = json.loads(json.dumps(tried.to_json(), allow_nan=False))
    assert record["chosen"] == "nearest"
    assert "held-out error" in str(tried)


def test_rules_keep_leaves_and_masked_logits_do_not_count():
    def masked(params, x):
        return jnp.where(jnp.arange(5)[None] < 4, dense(params, x), -jnp.inf)

    _, params, x = MODELS["dense"]
    quantized, tried = post_training(masked, params, [x, x[:8]], jc.Rules({"in": int8()}))
    assert quantized["out"] is params["out"]
    assert 0 < tried.error < math.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: post_training(dense, DENSE, [], int4()), "holds no batch"),
        (lambda: post_training(dense, DENSE, [normal(1, 10)], int4()), "holds one example"),
        (lambda: post_training(dense, DENSE, [normal(4, 10) * 0], int4()), "is 0.0 on the"),
        (
            lambda: post_training(dense, DENSE, [normal(4, 10) * jnp.nan], int4()),
            "is nan on the held-out",
        ),
        (
            lambda: post_training(
                lambda p, x: dense(p, x).argmax(-1), DENSE, [normal(4, 10)], int4()
            ),
            "no output is real",
        ),
        (
            lambda: post_training(dense, DENSE, X, int4(), Members(correction=2.0)),
            r"correction=2.0\) must be in \[0, 1\]",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
