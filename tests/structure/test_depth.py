"""Layers that go, against a loop over those that stay."""

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcompress import Rules, graph
from jaxcompress.graph.surgery import stacks, with_layer_gates
from jaxcompress.graph.surgery.check import difference
from jaxcompress.structure import amounts, importance, remove_layers
from jaxcompress.structure.importance import exact_layers
from jaxcompress.structure.remove import remove
from tests.graph.zoo import normal
from tests.inputs import QTENSORS

EPS = float(jnp.finfo(jnp.float32).eps)
ROUNDING = 100 * EPS
"""Of outputs behind a few sums of some ten terms, relative to the largest."""

LENGTH = 4
SCALES = np.array([0.5, 1.0, 1.5, 2.0], np.float32)
LAYERS = {"up": normal(1, LENGTH, 3, 5), "down": normal(2, LENGTH, 5, 3)}
PARAMS = {"head": normal(3, 3, 2), "layers": LAYERS, "shared": normal(4, 3)}
X = normal(5, 2, 3)


def block(x, each):
    return x + jnp.tanh(x @ each["up"]) @ each["down"]


def row(layers, index):
    return jax.tree.map(lambda leaf: leaf[index], layers)


class Case(NamedTuple):
    """A scan, and what one layer of it does by hand: (x, params, index) to x."""

    name: str
    fn: Callable
    layer: Callable
    backwards: bool = False


def plainly(x, params, index):
    return block(x, row(params["layers"], index))


def case(name, scanned, layer=plainly, backwards=False):
    """A case of a stack between the input and a head."""
    return Case(name, lambda params, x: scanned(params, x) @ params["head"], layer, backwards)


def over(xs, step, **options):
    """A scan whose results are not stacked."""
    return lambda params, x: lax.scan(
        lambda x, each: (step(params, x, each), None), x, xs(params), **options
    )[0]


def layers(params):
    return params["layers"]


def plain(params, x):
    return over(layers, lambda _, x, each: block(x, each))(params, x)


def rematerialized(params, x):
    return over(layers, lambda _, x, each: jax.checkpoint(block)(x, each))(params, x)


def of_two(params, x):
    """A carry of the stream and of how many layers have run."""

    def step(carry, each):
        x, count = carry
        return (block(x, each), count + 1), None

    x, count = lax.scan(step, (x, jnp.int32(0)), params["layers"])[0]
    return x * (1 + count)


CASES = [
    case("plain", plain),
    case(
        "backwards", over(layers, lambda _, x, each: block(x, each), reverse=True), backwards=True
    ),
    case("unrolled", over(layers, lambda _, x, each: block(x, each), unroll=3)),
    case("rematerialized layers", rematerialized),
    case("rematerialized stack", jax.checkpoint(plain)),
    case("jitted stack", jax.jit(plain)),
    case(
        "counted positions",
        over(
            lambda params: (params["layers"], jnp.arange(LENGTH)),
            lambda _, x, each: block(x / (1 + each[1]), each[0]),
        ),
        lambda x, params, index: block(x / (1 + index), row(params["layers"], index)),
    ),
    case(
        "constants",
        over(
            lambda params: (params["layers"], SCALES),
            lambda _, x, each: block(x * each[1], each[0]),
        ),
        lambda x, params, index: block(x * SCALES[index], row(params["layers"], index)),
    ),
    case(
        "a fixed operand",
        over(layers, lambda params, x, each: block(x * params["shared"][None], each)),
        lambda x, params, index: block(x * params["shared"][None], row(params["layers"], index)),
    ),
    case(
        "a branch in the layer",
        over(layers, lambda _, x, each: lax.cond(x.sum() > 0, block, lambda x, _: 2 * x, x, each)),
        lambda x, params, index: block(x, row(params["layers"], index)) if x.sum() > 0 else 2 * x,
    ),
    case(
        "cast leaves",
        over(
            lambda params: jax.tree.map(lambda w: w.astype(jnp.bfloat16), params["layers"]),
            lambda _, x, each: block(x.astype(jnp.bfloat16), each).astype(jnp.float32),
        ),
        lambda x, params, index: block(
            x.astype(jnp.bfloat16),
            jax.tree.map(lambda w: w.astype(jnp.bfloat16), row(params["layers"], index)),
        ).astype(jnp.float32),
    ),
]
TOLERANCE = {"cast leaves": 10 * float(jnp.finfo(jnp.bfloat16).eps)}
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def looped(case, left, x=X):
    """The model of these layers alone, one after another."""
    for index in reversed(left) if case.backwards else left:
        x = case.layer(x, PARAMS, index)
    return x @ PARAMS["head"]


def worth(*scores, name="layers/down"):
    """The importance that says what it is told to."""
    return lambda fn, params, *inputs: {name: jnp.array(scores)}


@functools.cache
def shallower(case):
    """The case without layers 0 and 2."""
    return remove_layers(case.fn, PARAMS, worth(0.0, 3.0, 1.0, 2.0), X, count=2)


@cases
def test_the_model_is_a_loop_over_the_layers_that_stay(case):
    (stack,) = stacks(case.fn, PARAMS, X).found
    assert (stack.name, stack.length) == ("layers/down", LENGTH)
    assert stack.leaves == ("layers/down", "layers/up")
    found = shallower(case)
    assert found.report.removed == ("layers/down[0]", "layers/down[2]")
    assert jax.tree.map(jnp.shape, found.params) == {
        "head": (3, 2),
        "layers": {"down": (2, 5, 3), "up": (2, 3, 5)},
        "shared": (3,),
    }
    np.testing.assert_array_equal(found.params["layers"]["up"], LAYERS["up"][np.array([1, 3])])
    tolerance = TOLERANCE.get(case.name, ROUNDING)
    assert found.report.to_skipped <= tolerance
    assert difference(jax.jit(found.fn)(found.params, X), looped(case, [1, 3])) <= tolerance


@pytest.mark.parametrize("batch", [1, 7])
def test_any_batch_size(batch):
    found = shallower(CASES[0])
    x = normal(9, batch, 3)
    assert difference(found.fn(found.params, x), looped(CASES[0], [1, 3], x)) <= ROUNDING


GATED = ["plain", "backwards", "rematerialized stack", "counted positions", "a branch in the layer"]


@pytest.mark.parametrize("name", GATED)
def test_gates_pass_layers_by(name):
    (case,) = [case for case in CASES if case.name == name]
    program = jax.jit(with_layer_gates(case.fn))
    for left in ([0, 1, 2, 3], [1, 3], [0], []):
        gate = jnp.isin(jnp.arange(LENGTH), jnp.array(left, int))
        outputs = program(PARAMS, X, gates={"layers/down": gate})
        assert difference(outputs, looped(case, left)) <= ROUNDING


def test_gates_are_open_above_zero():
    program = with_layer_gates(CASES[0].fn)
    gates = {"layers/down": jnp.array([0.5, 0.0, -1.0, 2.0])}
    assert difference(program(PARAMS, X, gates=gates), looped(CASES[0], [0, 3])) <= ROUNDING
    np.testing.assert_array_equal(program(PARAMS, X, gates={}), CASES[0].fn(PARAMS, X))


def test_every_part_of_the_carry_is_handed_on():
    found = remove_layers(of_two, PARAMS, worth(0.0, 3.0, 1.0, 2.0), X, count=2)
    x = plainly(plainly(X, PARAMS, 1), PARAMS, 3)
    assert difference(found.fn(found.params, X), 3 * x) <= ROUNDING


@pytest.mark.parametrize("name", ["plain", "rematerialized layers"])
def test_the_shallower_model_is_differentiated_as_one_of_its_depth(name):
    case = next(case for case in CASES if case.name == name)
    found = shallower(case)

    def loss(fn):
        return lambda params: (fn(params, X) ** 2).sum()

    slopes = jax.jit(jax.grad(loss(found.fn)))(found.params)
    assert difference(slopes, jax.jit(jax.grad(loss(case.fn)))(found.params)) <= ROUNDING


def test_layers_that_are_rematerialized_stay_so():
    found = shallower(next(case for case in CASES if case.name == "rematerialized layers"))
    text = str(jax.make_jaxpr(found.fn)(found.params, X))
    assert "checkpoint[" in text or "remat2[" in text


def test_nothing_given_is_changed():
    params = jax.tree.map(np.array, PARAMS)
    leaves = jax.tree.leaves(params)
    found = remove_layers(plain, params, worth(0.0, 3.0, 1.0, 2.0), np.array(X), count=1)
    for leaf, same, before in zip(
        jax.tree.leaves(params), leaves, jax.tree.leaves(PARAMS), strict=True
    ):
        assert leaf is same
        np.testing.assert_array_equal(leaf, before)
    assert found.params["head"] is params["head"]


def test_no_layer_goes_where_none_is_asked_for():
    found = remove_layers(plain, PARAMS, worth(0.0, 3.0, 1.0, 2.0), X, count=0)
    assert (found.report.removed, found.removal.cuts) == ((), ())
    np.testing.assert_array_equal(found.fn(found.params, X), plain(PARAMS, X))


def test_of_equal_layers_the_earlier_goes():
    found = remove_layers(plain, PARAMS, worth(1.0, 0.0, 0.0, 0.0), X, count=2)
    assert found.report.removed == ("layers/down[1]", "layers/down[2]")


def test_the_removal_slices_the_params_again():
    found = shallower(CASES[0])
    again = graph.surgery.slice_params(PARAMS, found.removal)
    jax.tree.map(np.testing.assert_array_equal, again, found.params)
    assert [(cut.leaf, cut.axis, cut.indices) for cut in found.removal.cuts] == [
        ("layers/down", 0, (0, 2)),
        ("layers/up", 0, (0, 2)),
    ]


def test_layers_of_a_model_without_some_units():
    fn = CASES[0].fn
    narrower = remove(fn, PARAMS, importance.magnitude(), X, cut=amounts.fraction(0.5))
    scores = worth(0.0, 3.0, 1.0, 2.0)
    found = remove_layers(narrower.fn, narrower.params, scores, X, count=2)
    small = jax.tree.map(lambda leaf: leaf[np.array([1, 3])], narrower.params["layers"])
    jax.tree.map(np.testing.assert_array_equal, found.params["layers"], small)
    assert small["up"].shape == (2, 3, 3)
    assert difference(found.fn(found.params, X), fn(found.params, X)) <= ROUNDING


TWO = {"first": normal(1, 2, 3, 3), "second": normal(2, 3, 3, 3)}


def two_stacks(params, x):
    """Of two and of three layers; the stacked results of the second are not read."""
    x, _ = lax.scan(lambda x, w: (x + jnp.tanh(x @ w), None), x, params["first"])
    x, _ = lax.scan(lambda x, w: (x + jnp.sin(x @ w), x), x, params["second"])
    return x


def by_hand(x, first=(0, 1), second=(0, 1, 2)):
    for index in first:
        x = x + jnp.tanh(x @ TWO["first"][index])
    for index in second:
        x = x + jnp.sin(x @ TWO["second"][index])
    return x


def test_stacks_are_named_by_leaf_in_program_order():
    found = stacks(two_stacks, TWO, X).found
    assert [(stack.name, stack.length, stack.leaves) for stack in found] == [
        ("first", 2, ("first",)),
        ("second", 3, ("second",)),
    ]
    shapes = jax.eval_shape(lambda: (TWO, X))
    assert stacks(two_stacks, *shapes).found == found


def test_each_stack_loses_as_many_as_its_rule_says():
    scores = {"first": np.array([1.0, 0.0]), "second": np.array([2.0, 3.0, 1.0])}
    found = remove_layers(two_stacks, TWO, lambda *_: scores, X, count=1)
    assert found.report.removed == ("first[1]", "second[2]")
    assert difference(found.fn(found.params, X), by_hand(X, (0,), (0, 1))) <= ROUNDING
    found = remove_layers(two_stacks, TWO, lambda *_: scores, X, count=Rules({"second": 2}))
    assert found.report.removed == ("second[0]", "second[2]")
    assert found.params["first"] is TWO["first"]
    assert difference(found.fn(found.params, X), by_hand(X, (0, 1), (1,))) <= ROUNDING


BATCHES = [(X[:1], normal(6, 1, 3)), (normal(7, 3, 3), normal(8, 3, 3))]
"""Of different sizes, so means must weigh them."""


def loss(outputs, targets):
    return ((outputs - targets) ** 2).sum(-1)


def mean_loss(model):
    losses = [loss(model(x), targets) for x, targets in BATCHES]
    return np.concatenate(losses).mean(dtype=np.float64)


@functools.cache
def exact_scores():
    return exact_layers(loss, BATCHES)(two_stacks, TWO, X)


def test_exact_scores_are_rises_of_the_loss():
    scores = exact_scores()
    before = mean_loss(by_hand)
    left = {
        "first": [{"first": (1,)}, {"first": (0,)}],
        "second": [{"second": (1, 2)}, {"second": (0, 2)}, {"second": (0, 1)}],
    }
    assert {name: (score.value.shape, score.value.dtype) for name, score in scores.items()} == {
        "first": ((2,), jnp.float32),
        "second": ((3,), jnp.float32),
    }
    for name, models in left.items():
        np.testing.assert_array_equal(scores[name].count, 4)
        for score, layers in zip(scores[name].value, models, strict=True):
            after = mean_loss(lambda x, layers=layers: by_hand(x, **layers))
            # Differences of losses of this size, each a sum of some hundred roundings.
            assert score == pytest.approx(after - before, abs=500 * EPS * max(before, after))


def over_time(params, x):
    """Steps through data, and through leaves beside it."""
    state, _ = lax.scan(lambda state, row: (jnp.tanh(state @ params + row), None), x[0], x)
    return state


def beside_data(params, x):
    return lax.scan(lambda state, both: (state @ both[0] + both[1], None), x[0], (params, x))[0]


def stacked_results(params, x):
    return lax.scan(lambda x, w: (x @ w, x), x, params)


def stacked_results_in_a_sum(params, x):
    x, seen = lax.scan(lambda x, w: (x @ w, x.sum()), x, params)
    return x + seen.sum()


def read_elsewhere(params, x):
    return plain_matrices(params, x) + params[0].sum()


def used_twice(params, x):
    return plain_matrices(params, plain_matrices(params, x))


def in_a_loop(params, x):
    return lax.fori_loop(0, 2, lambda _, x: plain_matrices(params, x), x)


def in_a_branch(params, x):
    return lax.cond(x.sum() > 0, plain_matrices, lambda params, x: x, params, x)


def plain_matrices(params, x):
    return lax.scan(lambda x, w: (x @ w, None), x, params)[0]


NO_STACKS = {
    over_time: r"\): it steps through no leaf\.",
    beside_data: r"\): its layers are needed whole by axis 0 of the input \[0\]\.",
    stacked_results: r"\): its stacked results are read\.",
    stacked_results_in_a_sum: r"\): its stacked results are read\.",
    read_elsewhere: r"\): its layers are needed whole by slice ",
    used_twice: r"\): its layers are needed whole by scan ",
    in_a_loop: r"\): it lies in a loop, a branch or a function with its own gradient\.",
    in_a_branch: r"\): it lies in a loop, a branch or a function with its own gradient\.",
}
"""Scans that are no stack, and the reason that is given."""


@pytest.mark.parametrize("fn", NO_STACKS, ids=lambda fn: fn.__name__)
def test_scans_that_are_no_stack_say_why(fn):
    params = normal(1, 3, 3) if fn is over_time else normal(1, 2, 3, 3)
    found = stacks(fn, params, X)
    assert found.found == ()
    assert any(re.search(NO_STACKS[fn].removesuffix(r"\."), reason) for reason in found.refused)
    message = rf"remove_layers: the model has no scanned stack of layers. scan \(.*{NO_STACKS[fn]}"
    with pytest.raises(ValueError, match=message):
        remove_layers(fn, params, worth(0.0), X, count=1)


def test_the_outer_of_two_scans_is_the_stack():
    def fn(params, x):
        return lax.scan(lambda x, ws: (plain_matrices(ws, x), None), x, params)[0]

    params = normal(1, 3, 2, 3, 3)
    (stack,) = stacks(fn, params, X).found
    assert (stack.name, stack.length) == (".", 3)
    found = remove_layers(fn, params, worth(1.0, 0.0, 2.0, name="."), X, count=1)
    expected = plain_matrices(params[2], plain_matrices(params[0], X))
    assert difference(found.fn(found.params, X), expected) <= ROUNDING


def without(count=1, scores=(0.0, 3.0, 1.0, 2.0)):
    return remove_layers(plain, PARAMS, worth(*scores), X, count=count)


def opened(gates):
    return with_layer_gates(plain)(PARAMS, X, gates=gates)


def scored(loss, batches):
    return exact_layers(loss, batches)(plain, PARAMS, X)


ERRORS = [
    (
        lambda: without(4),
        r"remove_layers\(count=4\): stack 'layers/down' has 4 layers, of which at least one stays",
    ),
    (lambda: without(-1), r"remove_layers\(count=-1\) must be at least 0"),
    (
        lambda: without(Rules({"blocks/*": 1})),
        r"Rules: 'blocks/\*' matches nothing. Names are: layers/down",
    ),
    (
        lambda: without(scores=(0.0, jnp.nan, 1.0, 2.0)),
        r"remove_layers\(importance=...\) scores 'layers/down\[1\]' as nan",
    ),
    (
        lambda: opened({"blocks": jnp.ones(4)}),
        r"with_layer_gates\(gates=\{'blocks': ...\}\): stacks are: layers/down",
    ),
    (
        lambda: opened({"layers/down": jnp.ones(3)}),
        r"gates=\{'layers/down': shape \(3,\)\}\) must have shape \(4,\)",
    ),
    (lambda: scored(loss, []), r"exact_layers\(batches=\[\]\) holds no batch"),
    (
        lambda: scored(lambda y, t: ((y - t) ** 2).mean(), [(X, X)]),
        r"exact_layers\(loss=...\) gives shape \(\); one number per example has shape \(2,\)",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors_name_the_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_params_of_another_depth_are_refused():
    found = shallower(CASES[0])
    with pytest.raises(ValueError, match=r"leaf 'layers/down' has size 4 along axis 0; .* 2 of 4"):
        found.fn(PARAMS, X)


def test_compressed_leaves_are_refused():
    params = {"layers": QTENSORS["int4 layers"]()}

    def fn(params, x):
        return lax.scan(lambda x, w: (x + w.sum(), None), x, params["layers"])[0]

    with pytest.raises(TypeError, match=r"leaf 'layers' is compressed. Remove first"):
        remove_layers(fn, params, worth(0.0, 1.0, name="layers"), X, count=1)


def test_a_stack_that_something_else_sums_over_is_none():
    def decayed(params, x):
        x, _ = jax.lax.scan(lambda x, w: (x @ w, None), x, params["layers"])
        return x + (params["layers"] ** 2).sum()

    found = stacks(decayed, {"layers": jnp.ones((3, 4, 4))}, jnp.ones((2, 4)))
    assert found.found == ()
    assert "its layers are also read by reduce_sum (" in found.refused[0]


def switched(params, x):
    """Layers of which the second is never run."""

    def layer(x, each):
        runs, w = each
        return lax.cond(runs, lambda x: x + jnp.tanh(x @ w), lambda x: x, x), None

    return lax.scan(layer, x, (np.array([True, False, True]), params["layers"]))[0]


def test_a_layer_that_no_data_reaches_has_no_score_and_stays():
    params = {"layers": normal(1, 3, 3, 3)}
    scores = exact_layers(loss, BATCHES)(switched, params, X)
    assert scores["layers"].count.tolist() == [4, 0, 4]
    report = remove_layers(switched, params, lambda *_: scores, X, count=1).report
    assert [(part.score is None, bool(part.reason)) for part in report.parts] == [
        (False, False),
        (True, True),
        (False, False),
    ]
    assert report.removed != ("layers[1]",)
    assert "no data reached it" in str(report)
    three = {"layers": scores["layers"]._replace(count=jnp.array([4, 0, 0]))}
    message = r"remove_layers\(count=2\): 1 of 3 parts have scores, and of layers\[1\], layers\[2\]"
    with pytest.raises(ValueError, match=message):
        remove_layers(switched, params, lambda *_: three, X, count=2)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, r"remove_layers\(importance=...\) scores no stack 'layers'"),
        ({"layers": np.zeros(2)}, r"scores 'layers' in shape \(2,\); .* has shape \(3,\)"),
        ({"layers": np.zeros((3, 3))}, r"scores 'layers' in shape \(3, 3\)"),
    ],
)
def test_scores_of_another_shape_are_refused(scores, message):
    def plain(params, x):
        return jax.lax.scan(lambda x, w: (x @ w, None), x, params["layers"])[0]

    params, x = {"layers": jnp.ones((3, 4, 4))}, jnp.ones((2, 4))
    with pytest.raises(ValueError, match=message):
        remove_layers(plain, params, lambda *_: scores, x, count=1)
