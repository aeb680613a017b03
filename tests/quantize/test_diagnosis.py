"""What a diagnosis says of sites and leaves, against the plainest sums in NumPy."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress import report
from jaxcompress.quantize import diagnose, execution, int4, int8, rounding
from jaxcompress.quantize.diagnosis import Diagnosis
from tests.inputs import on_device

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return on_device(RANDOM.normal(size=shape))


PARAMS = {
    "table": normal(9, 6),
    "first": normal(6, 8),
    "layers": normal(3, 8, 8) / 3,
    "bias": normal(8),
    "out": normal(8, 5),
}


def model(params, tokens):
    x = jnp.tanh(params["table"][tokens] @ params["first"] + params["bias"][None, None])
    x, _ = jax.lax.scan(lambda x, w: (x + jnp.tanh(x @ w), None), x, params["layers"])
    return x @ params["out"]


BATCHES = [RANDOM.integers(0, 9, (4, 7)), RANDOM.integers(0, 9, (2, 7))]
QUANTIZED, _ = jc.quantize.quantize(
    PARAMS,
    jc.Rules({"layers": int4(), "*": int8()}),
    axes=jc.graph.axes(model, PARAMS, BATCHES[0]),
)


def by_hand(params, tokens):
    """The data that meet each weight and what comes out, by site and layer."""
    x = np.asarray(params["table"])[tokens]
    found = {}
    for name, layer in (
        ("first", None),
        ("layers", 0),
        ("layers", 1),
        ("layers", 2),
        ("out", None),
    ):
        w = np.asarray(params[name] if layer is None else params[name][layer])
        found[name if layer is None else f"{name}[{layer}]"] = (w, x, x @ w)
        y = np.tanh(x @ w + (np.asarray(params["bias"]) if name == "first" else 0))
        x = x + y if name == "layers" else y
    return found


def ratio(exact, coarse):
    signal = sum(float(np.sum(np.float64(one) ** 2)) for one in exact)
    pairs = zip(exact, coarse, strict=True)
    noise = sum(float(np.sum((np.float64(one) - other) ** 2)) for one, other in pairs)
    return 10 * math.log10(signal / noise)


@pytest.fixture(scope="module")
def found():
    return diagnose(model, PARAMS, QUANTIZED, iter(BATCHES))


def test_ratios_are_those_of_plain_sums_and_layers_stand_apart(found):
    rows = {site.name: site for site in found.sites}
    exact = [by_hand(PARAMS, tokens) for tokens in BATCHES]
    coarse = [by_hand(jc.materialize(QUANTIZED), tokens) for tokens in BATCHES]
    assert list(rows) == ["table", *exact[0]]
    for name in exact[0]:
        for place, field in enumerate(("weights", "inputs", "outputs")):
            pairs = [[each[name][place] for each in batches] for batches in (exact, coarse)]
            expected = ratio(*pairs)
            # Sums are float32, and so are products.
            assert getattr(rows[name], field) == pytest.approx(expected, abs=0.02), (name, field)
        magnitudes = np.max([np.abs(each[name][1]).max((0, 1)) for each in exact], axis=0)
        np.testing.assert_allclose(
            rows[name].largest, magnitudes.max() / np.median(magnitudes), rtol=1e-4
        )
        assert rows[name].features == magnitudes.size
    assert rows["layers[1]"].layer == (1,)
    assert rows["table"].features == 0
    assert math.isnan(rows["table"].inputs)
    assert found.batches == 2
    assert found.worst.outputs == min(s.outputs for s in found.sites)


def test_codes_are_counted(found):
    rows = {leaf.leaf: leaf for leaf in found.leaves}
    assert list(rows) == [named for named in sorted(PARAMS) if named != "bias"]
    for name, row in rows.items():
        codes = np.asarray(QUANTIZED[name].unpacked_codes, np.int32)
        spec = QUANTIZED[name].spec
        assert row.codes == spec.highest - spec.lowest + 1
        assert row.unused == row.codes - len(set(codes.ravel().tolist()))
        flat = codes.reshape(-1, *codes.shape[1:]) if name == "layers" else codes[None]
        # Codes of a stack are (layers, out, in): a block is a row.
        spans = [(c.max(-1) - c.min(-1)) / (spec.highest - spec.lowest) for c in flat]
        np.testing.assert_allclose(row.range_used, np.mean(spans), rtol=1e-6)
        assert row.unused_share == row.unused / row.codes


def test_json_both_ways_and_a_table(found, tmp_path):
    again = Diagnosis.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert str(again) == str(found)
    assert again.to_json() == found.to_json()
    assert "layers[2]" in str(found)
    assert "codes never used" in str(found)
    pytest.importorskip("matplotlib")
    for name in ("signal.svg", "signal.png"):
        data = report.signal(found, tmp_path / name, title="Codes")
        assert data == (tmp_path / name).read_bytes()
    with pytest.raises(TypeError, match=r"signal\(diagnosis=1\) must be of type Diagnosis"):
        report.signal(1, tmp_path / "signal.svg")  # pyright: ignore[reportArgumentType]


def dense(params, x):
    return x @ params["kernel"]


def test_planted_outliers_and_rounded_data_are_seen():
    params = {"kernel": normal(8, 3)}
    x = normal(32, 8).at[:, 2].multiply(100.0)
    (plain,) = diagnose(dense, params, params, [x]).sites
    assert (plain.weights, plain.inputs, plain.outputs) == (math.inf,) * 3
    assert plain.outliers == 1
    assert plain.largest > 50
    rounded = execution.dynamic(int4())
    (coarse,) = diagnose(dense, params, params, [x], activations=rounded).sites
    kept = execution.outliers(rounded, execution.largest(1))
    (mixed,) = diagnose(dense, params, params, [x], activations=kept).sites
    assert coarse.inputs < mixed.inputs < math.inf
    shown = jc.quantize.fake_quantize_activations(dense, rounded)({"kernel": jnp.eye(8)}, x)
    assert coarse.inputs == pytest.approx(ratio([x], [shown]), abs=0.02)


def test_codes_inside_of_other_leaves_are_counted():
    params, x = {"kernel": normal(8, 6)}, normal(32, 8)
    for made, name in (
        (rounding.low_rank(rank=2), "kernel/base"),
        (rounding.rotated(rounding.nearest()), "kernel/leaf"),
    ):
        stored, _ = jc.quantize.quantize(params, int4(), rounding=made)
        found = diagnose(dense, params, stored, [x])
        assert [(leaf.leaf, leaf.codes) for leaf in found.leaves] == [(name, 15)]
        plain = ratio([params["kernel"]], [jc.materialize(stored)["kernel"]])
        assert found.sites[0].weights == pytest.approx(plain, abs=0.02)


def test_what_has_no_ratio_is_named():
    def fn(params, x):
        y = jax.lax.while_loop(
            lambda c: c[1] < 2, lambda c: (c[0] @ params["loop"], c[1] + 1), (x, 0)
        )
        return x @ params["zeros"] + 0 * x @ params["idle"] + y[0]

    params = {
        "loop": normal(4, 4),
        "zeros": jnp.zeros((4, 4)),
        "idle": normal(4, 4),
        "far": normal(4),
    }
    quantized, _ = jc.quantize.quantize(
        params, int8(), select=jc.matching("loop", "zeros", "idle", "far")
    )
    found = diagnose(fn, params, quantized, [normal(3, 4)])
    rows = {site.name: site for site in found.sites}
    assert "while loop" in rows["loop"].reason
    assert math.isfinite(rows["loop"].weights)
    assert rows["zeros"].reason == "its outputs are 0"
    assert math.isnan(rows["zeros"].weights)
    assert rows["idle"].reason == "no data reached it"
    assert math.isnan(rows["idle"].largest)
    assert {leaf.leaf for leaf in found.leaves} == set(params)
    small = {
        "kernel": jc.structure.factorize(
            {"kernel": normal(8, 6)}, rank=jc.structure.ranks.at_most(2)
        )[0]["kernel"]
    }
    (leaf,) = diagnose(dense, {"kernel": normal(8, 6)}, small, [normal(2, 8)]).leaves
    assert (leaf.kind, leaf.codes) == ("LowRank", 0)
    assert math.isnan(leaf.unused_share)
    huge = diagnose(
        dense, {"kernel": normal(2, 2)}, {"kernel": jnp.ones((2, 2))}, [1e30 * normal(2, 2)]
    )
    assert huge.sites[0].reason == "squares are not finite"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: diagnose(dense, {"kernel": normal(2, 2)}, {"kernel": normal(2, 2)}, []),
            "no batch",
        ),
        (
            lambda: diagnose(
                dense, {"kernel": normal(2, 2)}, {"kernel": normal(2, 3)}, [normal(1, 2)]
            ),
            r"leaf 'kernel' has shape \(2, 3\)",
        ),
        (
            lambda: diagnose(
                dense, {"kernel": normal(2, 2)}, {"other": normal(2, 2)}, [normal(1, 2)]
            ),
            r"diagnose\(quantized=...\) has a leaf 'other'",
        ),
        (
            lambda: diagnose(dense, PARAMS, PARAMS, [normal(1, 2) * jnp.nan]),
            r"batches\[0\]=...\) holds a NaN",
        ),
        (
            lambda: diagnose(
                dense, {"kernel": normal(2, 2)}, {"kernel": normal(2, 2)}, [normal(0, 2)]
            ),
            r"diagnose\(batches\): batch 0 holds no example in batch, of shape \(0, 2\)",
        ),
        (lambda: diagnose(lambda p, x: x, PARAMS, PARAMS, [normal(1, 2)]), "no weight meets data"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
