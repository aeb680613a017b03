"""A leaf that a method cannot treat does not refuse the whole call.

One model with every awkward leaf, and every verb on it. What was taken by default is
left out, and the report says why; what was asked for by name is refused with its name
and the mend; where nothing is left, the call raises.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress import prune, quantize, structure
from jaxcompress.core.left_out import MOST_NAMED, Obstacle, left_out
from tests.inputs import on_device


def normal(seed: int, *shape: int) -> jax.Array:
    return on_device(np.random.default_rng(seed).standard_normal(shape))


def model(params, x):
    """Of rows (rows, 16); all leaves but "unread" are read; "in", "out" are plain."""
    x = jnp.tanh(x @ params["in"])  # (rows, 16)
    x = x + params["table"][(jnp.abs(x[:, 0]) * 4).astype(jnp.int32)]
    taps = jax.lax.conv_general_dilated(
        x[None], params["taps"], (1,), "SAME", feature_group_count=16,
        dimension_numbers=("NWC", "WIO", "NWC"),
    )  # fmt: skip
    x = x + taps[0] + x[:, :7] @ params["uneven"]
    x = x + jnp.einsum("nhd,hde->ne", x.reshape(-1, 4, 4), params["heads"])
    x = x + jnp.real(x.astype(jnp.complex64) @ params["complex"]) + params["steps"][0]
    x = x + jnp.sum(x[:, :0] @ params["empty"]) + x @ params["codes"]
    return (x * params["number"]) @ params["out"]


X = normal(0, 6, 16)
CODES, _ = quantize.quantize({"codes": normal(8, 16, 16) / 4}, quantize.int8())
ODD = {
    "table": normal(3, 16, 16),
    "taps": normal(4, 3, 1, 16),
    "uneven": normal(5, 7, 16),
    "heads": normal(6, 4, 4, 16),
    "number": 0.5,
    "complex": (normal(7, 16, 16) / 4).astype(jnp.complex64),
    "steps": jnp.ones(2, jnp.int32),
    "empty": jnp.zeros((0, 16)),
    "unread": normal(9, 16, 16),
    **CODES,
}
PARAMS = {"in": normal(1, 16, 16), "out": normal(2, 16, 16)} | ODD
FN = jc.materialized(model)
AXES = jc.graph.axes(FN, PARAMS, X)
TARGETS = [(X, jnp.ones((6, 16)))]

KINDS = {
    "number": "a Python float",
    "complex": "complex64",
    "steps": "int32",
    "empty": "empty",
    "unread": "is read by no equation",
}
"""Leaves that no verb takes by default, and why."""
REFUSED_KINDS = {
    "number": "it is a Python float, no array. Make it one with jnp.asarray",
    "steps": "it has dtype int32, and only real floating leaves",
    "empty": "it has shape (0, 16), no entry. Leave it out with select=",
    "codes": "it is already QTensor(int8 per channel",
}
COMPRESSED = {"codes": "it is already QTensor(int8 per channel, shape=(16, 16), dtype=float32)"}


def squares(outputs, targets):
    return jnp.sum((outputs - targets) ** 2, axis=-1)


class Verb(NamedTuple):
    """A verb with a target or a spec, and what it says of leaves that do not fit it.

    `call(amount, select)` gives the reasons by leaf name: None for one that it treats.
    """

    call: Callable
    amount: object
    unfit: Mapping[str, str] = MappingProxyType({})


def of_report(result) -> dict[str, str | None]:
    tree, report = result
    for row in report.leaves:
        if not row.changed:
            before, after = PARAMS[row.name], jc.named_leaves(tree)[row.name]
            assert before is after or bool(jnp.array_equal(before, after))
    return {row.name: None if row.changed else row.reason for row in report.leaves}


def pruning(call: Callable, *, axes=AXES, **options) -> Callable:
    def with_target(amount, select):
        return of_report(call(prune.Target(amount, axes=axes, select=select, **options)))

    return with_target


def scored(criterion, **options) -> Callable:
    return pruning(lambda target: prune.one_shot(PARAMS, criterion, target), **options)


def of_masks(masks) -> dict[str, str | None]:
    shapes = {name: jnp.shape(mask) for name, mask in jc.named_leaves(masks).items()}
    return {name: None if shape else "" for name, shape in shapes.items()}


def masked(call: Callable) -> Callable:
    return lambda amount, select: of_masks(
        call(prune.Target(amount, TWO_OF_FOUR, axes=AXES, select=select))
    )


def reconstructed(solver) -> Callable:
    return pruning(lambda target: prune.reconstruct(FN, PARAMS, [X], solver, target), axes=None)


def viewed(amount, select):
    seen = quantize.fake_quantize(amount, axes=AXES, select=select)(PARAMS)
    return {name: "" if seen[name] is leaf else None for name, leaf in PARAMS.items()}


def measured(amount, select):
    examples = jc.validate.Examples(X, np.array([0, 1, 2, 3, 0, 1]))
    rows = jc.auto.sensitivity(FN, PARAMS, amount, examples, axes=AXES, select=select)
    return dict.fromkeys(PARAMS, "") | {row.name: row.reason or None for row in rows}


def curves(amount, select):
    targets = [prune.Target(amount, TWO_OF_FOUR, axes=AXES, select=select)]
    found = prune.sensitivity(FN, PARAMS, squares, TARGETS, prune.criteria.magnitude(), targets)
    return dict.fromkeys(PARAMS, "") | found.left_out | dict.fromkeys(found.rises)


def smallest_half(weight, second_moment, sparsity):
    del second_moment, sparsity
    keep = jnp.abs(weight) >= jnp.median(jnp.abs(weight))
    return jnp.where(keep, weight, 0.0), keep


TWO_OF_FOUR = prune.patterns.n_of_m(2, 4)
MAGNITUDE = prune.criteria.magnitude()
WANDA = prune.criteria.wanda(FN, PARAMS, [X])
RUNS = {
    "taps": "4 does not divide the 3 inputs of an output",
    "uneven": "4 does not divide the 7 inputs of an output",
}
LOOKED_UP = "it meets data in no dot or convolution that reads all of it, as it is stored"
NO_MATRIX = {
    "table": "it meets gather, and has to meet data in dots or convolutions",
    "taps": "it meets data in a grouped convolution, whose outputs meet different inputs",
}
UNTOLD_RUNS = dict.fromkeys(RUNS, "")
GROUPS = {
    "taps": "int4 in groups of 8 does not divide its 3 weights along contracting axes of (3, 1)",
    "uneven": "int4 in groups of 8 does not divide its 7 weights along contracting axes of (7,)",
}
INT4 = quantize.int4(group_size=8)

VERBS = {
    "magnitude": Verb(scored(MAGNITUDE, pattern=TWO_OF_FOUR), 0.5, RUNS),
    "wanda": Verb(scored(WANDA), 0.5, {"table": LOOKED_UP}),
    "masks": Verb(masked(lambda t: prune.masks(PARAMS, MAGNITUDE, t)), 0.5, UNTOLD_RUNS),
    "by_magnitude": Verb(masked(lambda t: prune.views.by_magnitude(t)(PARAMS)), 0.5, UNTOLD_RUNS),
    "prune": Verb(
        masked(lambda t: prune.prune(optax.identity(), MAGNITUDE, t).init(PARAMS).masks),
        0.5,
        UNTOLD_RUNS,
    ),
    "woodfisher": Verb(
        pruning(
            lambda target: prune.woodfisher(
                FN,
                PARAMS,
                squares,
                TARGETS,
                target,
                fisher=prune.FisherBlocks(size=2, damping=100.0),
            )
        ),
        0.5,
    ),
    "sparsegpt": Verb(
        reconstructed(prune.solvers.sparsegpt(pattern=TWO_OF_FOUR)),
        0.5,
        NO_MATRIX | {"uneven": "of 7 inputs a block of 7 does not fit the pattern: 4 does not"},
    ),
    "a solver of one's own": Verb(reconstructed(smallest_half), 0.5, NO_MATRIX),
    "sensitivity to pruning": Verb(curves, 0.5, RUNS),
    "quantize": Verb(
        lambda spec, select: of_report(quantize.quantize(PARAMS, spec, axes=AXES, select=select)),
        INT4,
        GROUPS,
    ),
    "fake_quantize": Verb(viewed, INT4, dict.fromkeys(GROUPS, "")),
    "sensitivity to codes": Verb(measured, INT4, GROUPS),
    "factorize": Verb(
        lambda rank, select: of_report(
            structure.factorize(PARAMS, rank=rank, axes=AXES, select=select)
        ),
        1,
    ),
}
every_verb = pytest.mark.parametrize("verb", VERBS)


@every_verb
def test_a_default_call_leaves_out_what_it_cannot_treat_and_says_why(verb):
    call, amount, unfit = VERBS[verb]
    found = call(amount, None)
    left = KINDS | COMPRESSED | unfit
    treated = {name for name, reason in found.items() if reason is None}
    assert treated == set(PARAMS) - set(left)
    for name, expected in left.items():
        assert expected in found[name] or found[name] == ""


@every_verb
def test_what_is_asked_for_by_name_is_refused_with_its_name_and_the_mend(verb):
    call, amount, unfit = VERBS[verb]
    refused = REFUSED_KINDS | unfit
    for name, reason in refused.items():
        message = f"leaf {name!r} was asked for by name, but {reason}"
        rules = jc.Rules({name: amount, "*": amount})
        for what, select in ((amount, jc.matching(name, "in")), (rules, None)):
            by_default = name in KINDS and select is None
            if by_default or (verb.startswith("sensitivity") and select is None):
                continue  # rules are over selected leaves, and a sensitivity takes none
            with pytest.raises((ValueError, TypeError), match=re.escape(message)):
                call(what, select)


ALONE = {
    "one_shot": lambda params: prune.one_shot(params, WANDA, 0.5),
    "reconstruct": lambda params: prune.reconstruct(
        lambda params, ids: params["table"][ids],
        params,
        [jnp.arange(3)],
        prune.solvers.sparsegpt(),
        0.5,
    ),
    "quantize": lambda params: quantize.quantize(params, quantize.int4(group_size=5)),
    "sensitivity": lambda params: jc.auto.sensitivity(
        lambda params, x: x @ params["table"],
        params,
        quantize.int4(group_size=3),
        jc.validate.Examples(X, np.zeros(6, int)),
    ),
    "factorize": lambda params: structure.factorize(
        params, rank=1, axes={"table": jc.LeafAxes((), (0, 1))}
    ),
}


@pytest.mark.parametrize("verb", ALONE)
def test_where_nothing_is_left_the_call_raises(verb):
    with pytest.raises(ValueError, match=rf"^{verb}: no leaf is left to change. 'table': .*\. \w"):
        ALONE[verb]({"table": ODD["table"]})


def test_an_error_names_some_of_many_leaves():
    names = [f"layer_{index}" for index in range(9)]
    obstacles = dict.fromkeys(names, Obstacle("it has no entry"))
    with pytest.raises(ValueError, match=r"'layer_4': it has no entry; and 4 more. Leave it out"):
        left_out("prune", obstacles, names, None, 0.5)
    assert MOST_NAMED == 5


REMOVALS = {
    "magnitude": structure.importance.magnitude(),
    "taylor": structure.importance.taylor(squares, TARGETS),
    "linearized": structure.importance.linearized(squares, TARGETS),
    "exact": structure.importance.exact(squares, TARGETS),
    "activation": structure.importance.activation([X]),
}


def beside(params, x):
    """A layer whose units go, beside leaves of every kind; "empty" sums nothing."""
    x = jnp.tanh(x @ params["in"]) * params["number"] + params["steps"][0]
    x = x + params["table"][jnp.zeros(x.shape[0], jnp.int32)]
    return x @ params["out"] + jnp.sum(x[:, :0] @ params["empty"])


@pytest.mark.parametrize("importance", REMOVALS)
def test_units_go_beside_leaves_of_every_kind(importance):
    names = ("in", "out", "number", "steps", "table", "empty", "unread")
    params = {name: PARAMS[name] for name in names}
    half = structure.amounts.fraction(0.5)
    small = structure.remove(beside, params, REMOVALS[importance], X, cut=half).params
    assert small["in"].shape == (16, 8)
    assert small["number"] == 0.5
