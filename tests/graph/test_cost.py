"""Cost: counts by hand, and the analysis of the compiler."""

import jax.numpy as jnp

from jaxcompress import graph
from tests.graph.zoo import llama, normal, tied_gpt


def test_a_tied_leaf_is_stored_once():
    model = tied_gpt()
    cost = graph.cost(graph.trace(model.fn, model.params, *model.inputs))
    rows = {row.name: row for row in cost.sites}
    assert rows["embed"].weight_bytes == rows["embed#2"].weight_bytes == 11 * 8 * 4
    layer = 8 * 24 + 8 * 8 + 8 * 16 + 16 * 8
    assert cost.weight_bytes == 4 * (11 * 8 + 2 * layer)
    assert cost.macs == 10 * (11 * 8 + 2 * layer)  # ten tokens, each times every weight
    assert rows["layers/0/up"].activation_bytes == 4 * 10 * (8 + 16)


def test_repeats_count():
    model = llama()
    cost = graph.cost(graph.trace(model.fn, model.params, *model.inputs))
    rows = {row.name: row for row in cost.sites}
    assert rows["layers/down"].repeats == 2
    assert rows["layers/down"].macs == 2 * 10 * 12 * 8
    assert rows["layers/down"].weight_bytes == 4 * 2 * 12 * 8
    assert rows["layers/down"].activation_bytes == 2 * 4 * 10 * (12 + 8)


def test_leaves_side_by_side_are_all_stored():
    def fn(params, x):
        return x @ jnp.concatenate([params["gate"], params["up"]], axis=1)

    params = {"gate": normal(1, 6, 4), "up": normal(2, 6, 3)}
    cost = graph.cost(graph.trace(fn, params, normal(3, 5, 6)))
    assert cost.weight_bytes == 4 * 6 * 7


def test_what_the_compiler_says():
    def fn(w, x):
        return x @ w

    cost = graph.compiled(fn, jnp.ones((64, 32)), jnp.ones((16, 64)))
    assert cost.argument_bytes == 4 * (64 * 32 + 16 * 64)
    assert cost.output_bytes == 4 * 16 * 32
    assert cost.flops is not None
    assert cost.flops >= 2 * 16 * 64 * 32
    assert cost.peak_bytes is not None
    assert cost.peak_bytes >= cost.argument_bytes + cost.output_bytes
