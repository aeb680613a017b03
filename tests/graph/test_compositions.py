"""Which leaves are weights: factors, gains and masks of weights, looked-up rows.

A newcomer adds a row: a model, the sites it must have as (leaf, contracting, output,
batch), and of every other leaf why it is left out.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcompress as jc
from jaxcompress import graph
from jaxcompress.core.names import named_leaves
from jaxcompress.core.observers import covariance
from jaxcompress.core.selectors import why_left_out
from tests.graph.zoo import equinox_tokens, filled, normal, tokens

X = normal(3, 5, 6)
FROZEN = normal(7, 6, 6)


class Case(NamedTuple):
    """A model, its leaves that are weights with their roles, and why others are not."""

    fn: Callable
    params: dict
    weights: dict
    left_out: dict
    inputs: tuple = (X,)


def low_rank(prefix: str = "") -> tuple[dict, dict]:
    """Factors of a 6 × 6 update, and the roles each has in their product."""
    factors = {f"{prefix}a": normal(1, 6, 2), f"{prefix}b": normal(2, 2, 6)}
    return factors, {f"{prefix}a": ((1,), (0,), ()), f"{prefix}b": ((0,), (1,), ())}


FACTORS, FACTOR_ROLES = low_rank()
OTHERS, OTHER_ROLES = low_rank("other ")
KERNEL = {"w": normal(4, 6, 6)}
PLAIN = ((0,), (1,), ())


def dora(p, x):
    w = p["w"] + p["a"] @ p["b"]
    return x @ (p["size"] * w / jnp.linalg.norm(w, axis=0, keepdims=True))


def spectral(p, x):
    """One turn of power iteration, as the layer in Flax and Haiku takes it."""
    v = p["u"] @ p["w"].T
    v = lax.stop_gradient(v / jnp.linalg.norm(v))
    u = lax.stop_gradient(v @ p["w"] / jnp.linalg.norm(v @ p["w"]))
    return x @ (p["w"] / (v @ p["w"] @ u.T))


def switched(p, x, at):
    branches = [lambda x: x @ p["a"], lambda x: jnp.tanh(x @ p["b"] + p["bias"])]
    return jax.vmap(lambda at, x: lax.switch(at, branches, x))(at, x)


def equinox_language_model() -> Case:
    """Tokens one by one through an embedding, as every Equinox model has them."""
    model = equinox_tokens()
    weights = dict.fromkeys(["embed/weight", "hidden/weight", "head/weight"], ((1,), (0,), ()))
    biases = dict.fromkeys(["hidden/bias", "head/bias"], r"entry by entry \(add\)")
    return Case(model.fn, model.params, weights, biases, model.inputs)


def haiku_learned_queries() -> Case:
    """Attention of learned queries: none of their projection's data are data."""
    hk = pytest.importorskip("haiku")

    def network(x):
        queries = hk.get_parameter("queries", (3, 8), init=jnp.zeros)
        attention = hk.MultiHeadAttention(2, 4, w_init=hk.initializers.RandomNormal(), model_size=8)
        return attention(jnp.broadcast_to(queries, (2, 3, 8)), x, x)

    x = normal(1, 2, 5, 8)
    model = hk.without_apply_rng(hk.transform(network))
    names = ("query", "key", "value", "linear")
    reasons = dict.fromkeys(names, r"entry by entry \(add\)") | {
        "query": "a vector that is broadcast"
    }
    return Case(
        model.apply,
        filled(model.init, jax.random.key(0), x),
        {"~/queries": ((1,), (0,), ())}
        | {f"multi_head_attention/{name}/w": PLAIN for name in names},
        {f"multi_head_attention/{name}/b": reasons[name] for name in names},
        (x,),
    )


CASES = {
    "a gain broadcast to the weight": lambda: Case(
        lambda p, x: x @ (p["w"] * jnp.broadcast_to(p["gain"], (6, 6))),
        KERNEL | {"gain": normal(1, 6)},
        {"w": PLAIN},
        {"gain": "is combined with leaf 'w' entry by entry"},
    ),
    "a gain broadcast to a constant": lambda: Case(
        lambda p, x: x @ (FROZEN * jnp.broadcast_to(p["gain"], (6, 6))),
        {"gain": normal(1, 6)},
        {},
        {"gain": r"is a vector that is broadcast \(mul\)"},
    ),
    "a vector broadcast to a kernel": lambda: Case(
        lambda p, x: x @ jnp.broadcast_to(p["row"], (6, 6)),
        {"row": normal(1, 6)},
        {},
        {"row": r"is a vector that is broadcast \(dot_general\)"},
    ),
    "a token tiled beside the data": lambda: Case(
        lambda p, x: jnp.concatenate([jnp.tile(p["token"], (2, 1)), x]),
        {"token": normal(1, 1, 6)},
        {},
        {"token": "concatenate"},
    ),
    "a tiled kernel": lambda: Case(
        lambda p, x: x @ jnp.tile(p["w"], (1, 2)), KERNEL, {"w": PLAIN}, {}
    ),
    "LoRA": lambda: Case(
        lambda p, x: x @ (p["w"] + 0.5 * (p["a"] @ p["b"])),
        KERNEL | FACTORS,
        {"w": PLAIN} | FACTOR_ROLES,
        {},
    ),
    "LoRA of a frozen weight": lambda: Case(
        lambda p, x: x @ (FROZEN + p["a"] @ p["b"]), FACTORS, FACTOR_ROLES, {}
    ),
    "LoRA in two steps": lambda: Case(
        lambda p, x: x @ FROZEN + x @ p["a"] @ p["b"],
        FACTORS,
        {"a": PLAIN, "b": PLAIN},
        {},
    ),
    "DoRA": lambda: Case(
        dora,
        KERNEL | FACTORS | {"size": normal(1, 1, 6)},
        {"w": PLAIN} | FACTOR_ROLES,
        {"size": "is combined with leaf 'w'"},
    ),
    "a Hadamard product of products": lambda: Case(
        lambda p, x: x @ (FROZEN + (p["a"] @ p["b"]) * (p["other a"] @ p["other b"])),
        FACTORS | OTHERS,
        FACTOR_ROLES | OTHER_ROLES,
        {},
    ),
    "weight normalization": lambda: Case(
        lambda p, x: x @ (p["w"] / jnp.linalg.norm(p["w"], axis=0)[None] * p["gain"][None]),
        KERNEL | {"gain": normal(1, 6)},
        {"w": PLAIN},
        {"gain": "is combined with leaf 'w'"},
    ),
    "spectral normalization": lambda: Case(
        spectral,
        KERNEL | {"u": normal(1, 1, 6)},
        {"w": PLAIN},
        {"u": "loses its axes in dot_general"},
    ),
    "a sum of weights": lambda: Case(
        lambda p, x: x @ (p["shared"] + p["own"]),
        {"shared": normal(1, 6, 4), "own": normal(2, 6, 4)},
        {"shared": PLAIN, "own": PLAIN},
        {},
    ),
    "a learned query": lambda: Case(
        lambda p, x: jax.nn.softmax((p["query"] @ p["w"]) @ x.T) @ x,
        KERNEL | {"query": normal(1, 1, 6)},
        {"w": PLAIN},
        {"query": "loses its axes in dot_general"},
    ),
    "an orthogonality penalty": lambda: Case(
        lambda p, x: (x @ p["w"], jnp.sum((p["w"].T @ p["w"] - jnp.eye(6)) ** 2)),
        KERNEL,
        {"w": PLAIN},
        {},
    ),
    "branches for each example": lambda: Case(
        switched,
        {"a": normal(1, 6, 4), "b": normal(2, 6, 4), "bias": normal(5, 4)},
        {"a": PLAIN, "b": PLAIN},
        {"bias": r"entry by entry \(add\)"},
        (X, jnp.array([0, 1, 0, 1, 1])),
    ),
    "experts by groups of rows": lambda: Case(
        lambda p, x, sizes: lax.ragged_dot(x, p["up"], sizes),
        {"up": normal(1, 3, 6, 8)},
        {"up": ((1,), (2,), (0,))},
        {},
        (X, jnp.array([2, 0, 3])),
    ),
    "an embedding of one token": lambda: Case(
        lambda p, token: p["table"][token] @ p["out"],
        {"table": normal(1, 11, 6), "out": normal(2, 6, 4)},
        {"table": ((1,), (0,), ()), "out": PLAIN},
        {},
        (jnp.array(3),),
    ),
    "a table of one row": lambda: Case(
        lambda p, ids: jax.vmap(lambda i: p["table"][i])(ids) @ p["out"],
        {"table": normal(1, 1, 6), "out": normal(2, 6, 4)},
        {"table": ((1,), (0,), ()), "out": PLAIN},
        {},
        (jnp.zeros(3, int),),
    ),
    "complex by halves": lambda: Case(
        lambda p, x: jnp.abs(x @ (p["re"] + 1j * p["im"])),
        {"re": normal(1, 6, 4), "im": normal(2, 6, 4)},
        {},
        dict.fromkeys(("re", "im"), "parts of complex numbers"),
    ),
    "complex by lax": lambda: Case(
        lambda p, x: jnp.abs(x @ lax.complex(p["re"], p["im"])),
        {"re": normal(1, 6, 4), "im": normal(2, 6, 4)},
        {},
        dict.fromkeys(("re", "im"), "parts of complex numbers"),
    ),
    "complex along an axis": lambda: Case(
        lambda p, x: (x @ (p["w"][..., 0] + 1j * p["w"][..., 1])).real,
        {"w": normal(1, 6, 4, 2)},
        {},
        {"w": "parts of complex numbers"},
    ),
    "complex": lambda: Case(
        lambda p, x: jnp.abs(x @ p["w"]),
        {"w": lax.complex(normal(1, 6, 4), normal(2, 6, 4))},
        {},
        {"w": "complex64"},
    ),
    "a filter of frequencies": lambda: Case(
        lambda p, x: jnp.fft.irfft(jnp.fft.rfft(x) * p["filter"][None]),
        {"filter": normal(1, 4), "spare": normal(4, 6, 6)},
        {},
        {"filter": r"entry by entry \(mul\)", "spare": "is read by no equation"},
    ),
    "axes that are lost": lambda: Case(
        lambda p, x: x @ jnp.cumsum(p["w"], 0),
        KERNEL,
        {},
        {"w": "loses its axes in cumsum"},
    ),
    "a primitive without a rule": lambda: Case(
        lambda p, x: lax.custom_linear_solve(lambda v: v @ p["w"], x, lambda _, v: v),
        KERNEL,
        {},
        {"w": "meets data in custom_linear_solve, which is no dot"},
    ),
    "an Equinox language model": equinox_language_model,
    "Haiku's attention of learned queries": haiku_learned_queries,
}


@pytest.mark.parametrize("name", CASES)
def test_weights_and_what_is_left_out(name):
    case = CASES[name]()
    axes = graph.axes(case.fn, case.params, *case.inputs)
    found = named_leaves(axes)
    chosen = {name for name, each in named_leaves(jc.weights(axes)(case.params)).items() if each}
    assert chosen == case.weights.keys()
    roles = {
        name: (found[name].contracting, found[name].output, found[name].batch) for name in chosen
    }
    assert roles == case.weights
    leaves = named_leaves(case.params)
    reasons = {name: why_left_out(leaves[name], found[name]) for name in leaves.keys() - chosen}
    assert reasons.keys() == case.left_out.keys()
    for name, reason in case.left_out.items():
        assert re.search(reason, reasons[name])


def test_reports_say_why_a_leaf_is_left_out():
    case = CASES["DoRA"]()
    params = case.params | {"c": jnp.ones((2, 2), jnp.complex64)}
    axes = graph.axes(case.fn, params, X)
    _, report = jc.quantize.quantize(params, jc.quantize.int8(), axes=axes)
    assert {row.name: row.reason for row in report.kept} == {
        "size": "not selected: is combined with leaf 'w' entry by entry (mul)",
        "c": "not selected: complex64",
    }


def test_both_factors_are_replaced_and_observed():
    def fn(p, x):
        return x @ (FROZEN + p["a"] @ p["b"])

    seen = []

    def doubled(site, apply, data, weight):
        seen.append(site.name)
        return 2 * apply(data, weight)

    out = graph.rewrite(fn, doubled)(FACTORS, X)
    np.testing.assert_allclose(out, X @ (FROZEN + 4 * FACTORS["a"] @ FACTORS["b"]), rtol=1e-5)
    assert seen == ["a", "b"]
    _, readings = graph.observe(fn, covariance())(FACTORS, X)
    np.testing.assert_allclose(readings["a"][0], FACTORS["b"] @ FACTORS["b"].T, rtol=1e-5)
    np.testing.assert_allclose(readings["b"][0], FACTORS["a"].T @ FACTORS["a"], rtol=1e-5)


def test_compressed_factors_reach_their_handlers_as_stored():
    def fn(p, x):
        return x @ (p["a"] @ p["b"])

    packed, _ = jc.quantize.quantize(FACTORS, jc.quantize.int8())
    kinds = {}

    def noted(site, apply, data, weight):
        kinds[site.name] = type(weight).__name__
        return apply(data, weight)

    out = graph.rewrite(fn, noted)(packed, X)
    np.testing.assert_allclose(out, fn(jc.materialize(packed), X), rtol=1e-5)
    assert kinds == {"a": "QTensor", "b": "QTensor"}


def test_a_table_under_vmap_is_smaller_as_codes():
    def fn(p, ids):
        return jax.vmap(jax.vmap(lambda each: p["table"][each]))(ids)

    params, ids = {"table": normal(1, 32, 16)}, tokens(2, 3)
    packed, report = jc.quantize.quantize(
        params, jc.quantize.int8(), axes=graph.axes(fn, params, ids)
    )
    assert report.bytes_after == 32 * 16 + 4 * 32  # one float32 scale for each row
    half_a_step = 0.5 * np.abs(params["table"]).max(1) / 127
    apart = np.abs(jax.jit(jc.materialized(fn))(packed, ids) - fn(params, ids))
    assert np.all(apart <= half_a_step[ids][..., None] * (1 + 1e-5))


def test_a_plan_runs_ragged_dots_on_arrays():
    case = CASES["experts by groups of rows"]()
    axes = graph.axes(case.fn, case.params, *case.inputs)
    packed, _ = jc.quantize.quantize(case.params, jc.quantize.int8(), axes=axes)
    plan = jc.quantize.plan_execution(
        case.fn, packed, *case.inputs, probe=lambda calls: dict.fromkeys(calls, 1.0)
    )
    assert plan.choices == ()
    found = jc.quantize.run(case.fn, plan)(packed, *case.inputs)
    np.testing.assert_allclose(found, jc.materialized(case.fn)(packed, *case.inputs), rtol=1e-5)
