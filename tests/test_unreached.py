"""No data is not data that say zero: leaves that calibration does not reach.

One table of programs in which something is never reached, and every method on each:
what was taken by default is left out, or treated without data, with the reason; what
was asked for by name is refused; where nothing is reached, the method raises.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.graph.calibrate import unreached
from tests.inputs import on_device

NOTHING, ONE_OF_TWO = "no data reached it", "no data reached 1 of its 2 matrices"


def normal(seed: int, *shape: int) -> jax.Array:
    return on_device(np.random.default_rng(seed).standard_normal(shape))


class Case(NamedTuple):
    """A model of x (6, 4) whose leaf "rare" is not reached, and why it is not known."""

    fn: Callable
    rare: jax.Array
    reason: str


def branch(params, x):
    x = jnp.tanh(x @ params["in"])
    x = jax.lax.cond(x.sum() > 1e6, lambda x: x @ params["rare"], lambda x: x, x)
    return x @ params["out"]


def loop(params, x):
    x = jnp.tanh(x @ params["in"])
    going = lambda state: (state[0] < 9) & (state[1].sum() > 1e6)  # noqa: E731
    step = lambda state: (state[0] + 1, state[1] @ params["rare"])  # noqa: E731
    return jax.lax.while_loop(going, step, (0, x))[1] @ params["out"]


def expert(params, x):
    """Two experts, of which the first gets all tokens."""
    x = jnp.tanh(x @ params["in"])
    tokens = jnp.stack([x, jnp.zeros_like(x)])  # (experts, rows, features)
    return jnp.einsum("erd,edk->erk", tokens, params["rare"]).sum(0) @ params["out"]


def layers(params, x):
    """Two layers of a scan, of which the second is passed by."""

    def layer(x, scanned):
        index, w = scanned
        return jax.lax.cond(index < 1, lambda x: jnp.tanh(x @ w), lambda x: x, x), None

    x = jnp.tanh(x @ params["in"])
    x, _ = jax.lax.scan(layer, x, (jnp.arange(2), params["rare"]))
    return x @ params["out"]


CASES = {
    "a branch never taken": Case(branch, normal(1, 5, 5), NOTHING),
    "a loop of no turns": Case(loop, normal(1, 5, 5), NOTHING),
    "an expert without tokens": Case(expert, normal(1, 2, 5, 5), ONE_OF_TWO),
    "one layer of a stack": Case(layers, normal(1, 2, 5, 5), ONE_OF_TWO),
}
X = normal(0, 6, 4)
AWAY = {"in": normal(2, 4, 5), "out": normal(3, 5, 3)}


class Setting(NamedTuple):
    """A case with its params, axes, and readings of covariances and ranges."""

    fn: Callable
    params: dict
    axes: dict
    covariances: dict
    ranges: dict
    reason: str


@pytest.fixture(scope="module", params=CASES)
def setting(request) -> Setting:
    fn, rare, reason = CASES[request.param]
    params = AWAY | {"rare": rare}
    both = jc.observers.together(jc.observers.covariance(), jc.quantize.ranges.moving_average())
    readings = jc.graph.calibrate(fn, params, [X], both)
    covariances, ranges = (
        {name: jc.observers.Reading(each.value[i], each.count) for name, each in readings.items()}
        for i in range(2)
    )
    return Setting(fn, params, jc.graph.axes(fn, params, X), covariances, ranges, reason)


def reason_of(report: jc.Report, leaf: str) -> str:
    return next(row.reason for row in report.leaves if row.name == leaf)


def test_a_reading_carries_its_count(setting):
    counts = {name: reading.count.tolist() for name, reading in setting.covariances.items()}
    unreached = 0 if setting.reason == NOTHING else [6, 0]
    assert counts == {"in": 6, "rare": unreached, "out": 6}


def test_factorize_is_plain_without_data(setting):
    def factored(rank, **options):
        return jc.structure.factorize(setting.params, rank=rank, axes=setting.axes, **options)

    found, report = factored(2, covariances=setting.covariances)
    plain, _ = factored(2)
    rare, expected = (each["rare"].materialize() for each in (found, plain))
    index = ... if setting.reason == NOTHING else 1
    np.testing.assert_allclose(rare[index], expected[index], atol=1e-5)
    assert setting.reason in reason_of(report, "rare")
    assert "no data" not in reason_of(report, "in")
    with pytest.raises(ValueError, match=r"factorize: leaf 'rare' was asked for by name, but no"):
        factored(jc.Rules({"rare": 2, "*": 2}), covariances=setting.covariances)
    with pytest.raises(ValueError, match=r"factorize: no leaf is left .* 'rare': no data"):
        jc.structure.factorize(
            {"rare": setting.params["rare"]},
            rank=2,
            axes={"rare": setting.axes["rare"]},
            covariances={"rare": setting.covariances["rare"]},
        )


def test_wanda_leaves_out_what_it_did_not_see_under_every_allocation(setting):
    criterion = jc.prune.criteria.wanda(setting.fn, setting.params, [X])
    assert criterion.unscored == {"rare": setting.reason}
    for allocate in (jc.prune.allocations.uniform, jc.prune.allocations.globally):
        pruned, report = jc.prune.one_shot(
            setting.params, criterion, jc.prune.Target(0.5, allocate=allocate, axes=setting.axes)
        )
        np.testing.assert_array_equal(pruned["rare"], setting.params["rare"])
        assert reason_of(report, "rare") == setting.reason
        assert (pruned["in"] == 0).any()
    rule = jc.Rules({"rare": 0.5, "*": 0.5})
    whole = jc.prune.Target(0.5, axes=setting.axes)
    for named in ({"select": jc.matching("rare")}, {"sparsity": rule}):
        target = dataclasses.replace(whole, **named)
        with pytest.raises(ValueError, match=r"masks: leaf 'rare' was asked for by name, but no"):
            jc.prune.masks(setting.params, criterion, target)
    with pytest.raises(ValueError, match=r"^wanda\(.*: leaf 'rare' has no scores: no data"):
        criterion.score((), setting.params)


def test_static_ranges_are_those_of_the_data_where_none_were_calibrated(setting):
    activations = jc.quantize.execution.static(setting.ranges)
    assert activations.unreached == {"rare"}
    site = next(s for s in jc.graph.trace(setting.fn, setting.params, X).sites if s.leaf == "rare")
    rows = normal(4, 2, 5)
    found, own = (
        each.ranges(rows, site) for each in (activations, jc.quantize.execution.dynamic())
    )
    jax.tree.map(np.testing.assert_array_equal, found, own)
    named = jc.quantize.fake_quantize_activations(setting.fn, jc.Rules({"rare": activations}))
    with pytest.raises(ValueError, match=r"rule 'rare' asks for static ranges of site 'rare'"):
        jax.eval_shape(named, setting.params, X)
    with pytest.raises(ValueError, match=r"static\(readings=...\): no data reached"):
        jc.quantize.execution.static({"rare": setting.ranges["rare"]})
    codes, _ = jc.quantize.quantize(setting.params, jc.quantize.int8(), axes=setting.axes)
    planned = jc.quantize.plan_execution(
        setting.fn, codes, X, activations=activations, probe=lambda calls: dict.fromkeys(calls, 1.0)
    )
    assert "no data reached all of it in calibration" in reason_of(planned.report, "rare")
    assert "no data" not in reason_of(planned.report, "in")


def test_sensitivity_to_pruning_leaves_out_what_could_go_at_no_rise(setting):
    def measured(select=None):
        targets = [jc.prune.Target(0.5, select=select)]
        return jc.prune.sensitivity(
            setting.fn, setting.params, squares, PAIRS, jc.prune.criteria.magnitude(), targets
        )

    curves = measured()
    assert list(curves.rises) == ["in", "out"]
    assert curves.left_out == {"rare": setting.reason}
    with pytest.raises(ValueError, match=rf"'rare' was not measured, since {setting.reason}\. L"):
        jc.prune.allocations.by_sensitivity(curves)(setting.params, {}, 0.5)
    for select, message in (
        (jc.matching("rare", "in"), "leaf 'rare' was asked for by name, but no data"),
        (jc.matching("rare"), "leaf 'rare' was asked for by name"),
    ):
        with pytest.raises(ValueError, match=rf"sensitivity: {message}"):
            measured(select=select)
    with pytest.raises(ValueError, match="sensitivity: no leaf is left to change"):
        jc.prune.sensitivity(
            setting.fn, setting.params, squares, [(0 * X, X)], jc.prune.criteria.magnitude()
        )


def test_sensitivity_to_codes_knows_nothing_of_what_no_data_reaches(setting):
    labels = np.array([0, 1, 2, 0, 1, -100])
    inputs = X.at[5].set(1e9)  # takes the branch, but does not count

    def measured(**options):
        examples = jc.validate.Examples(inputs, labels, ignore=-100, batch_size=2)
        return jc.auto.sensitivity(
            setting.fn, setting.params, jc.quantize.int4(), examples, **options
        )

    first, *rows = measured()
    assert (first.name, first.reason) == ("rare", setting.reason)
    assert np.isnan([first.loss_increase, first.accuracy_change]).all()
    assert sorted(row.name for row in rows) == ["in", "out"]
    assert all(row.reason == "" and np.isfinite(row.loss_increase) for row in rows)
    assert rows[0].loss_increase >= rows[1].loss_increase
    with pytest.raises(ValueError, match="sensitivity: leaf 'rare' was asked for by name, but no"):
        measured(select=jc.matching("rare", "in"))


def test_a_table_and_what_is_read_elsewhere_too_are_not_judged():
    def fn(params, x):
        away = lambda x: x @ params["away"] + x @ params["table"]  # noqa: E731
        x = jax.lax.cond(x.sum() > 1e6, away, lambda x: x, x @ params["in"])
        return x + params["away"].sum() + params["table"][jnp.arange(6) % 4]

    params = {name: normal(i, 4, 4) for i, name in enumerate(("in", "away", "table"))}
    assert unreached(fn, params, [(X,)]) == {}
    lookup = lambda params, ids: params["table"][ids]  # noqa: E731
    assert unreached(lookup, params, [(jnp.arange(3),)]) == {}


@pytest.mark.parametrize("setting", ["one layer of a stack"], indirect=True)
def test_reconstruction_leaves_out_what_no_row_reaches(setting):
    solver = jc.prune.solvers.sparsegpt()
    pruned, report = jc.prune.reconstruct(setting.fn, setting.params, [X], solver, 0.5)
    np.testing.assert_array_equal(pruned["rare"], setting.params["rare"])
    assert reason_of(report, "rare") == setting.reason
    assert (pruned["out"] == 0).any()
    named = jc.prune.Target(0.5, select=jc.matching("rare", "in"))
    with pytest.raises(ValueError, match=r"reconstruct: leaf 'rare' was asked for by name, but no"):
        jc.prune.reconstruct(setting.fn, setting.params, [X], solver, named)


@pytest.mark.parametrize("setting", ["an expert without tokens"], indirect=True)
def test_woodfisher_leaves_out_what_no_gradient_reaches(setting):
    def loss(outputs, targets):
        return ((outputs - targets) ** 2).sum(-1)

    data = [(X, jnp.zeros((6, 3)))]
    target = jc.prune.Target(0.5, allocate=jc.prune.allocations.globally, axes=setting.axes)
    blocks = jc.prune.FisherBlocks(size=4, damping=1.0)
    pruned, report = jc.prune.woodfisher(
        setting.fn, setting.params, loss, data, target, fisher=blocks
    )
    np.testing.assert_array_equal(pruned["rare"], setting.params["rare"])
    assert reason_of(report, "rare") == setting.reason
    assert (pruned["in"] == 0).any()
    target = dataclasses.replace(target, select=jc.matching("rare", "in"))
    with pytest.raises(ValueError, match=r"woodfisher: leaf 'rare' was asked for by name"):
        jc.prune.woodfisher(setting.fn, setting.params, loss, data, target, fisher=blocks)


def wide_branch(params, x):
    """A branch never taken with units of its own, beside a layer that is."""
    x = jnp.tanh(x @ params["in"]) @ params["out"]
    wide = lambda x: jnp.tanh(x @ params["up"]) @ params["down"]  # noqa: E731
    return jax.lax.cond(x.sum() > 1e6, wide, lambda x: x, x)


WIDE = AWAY | {"up": normal(5, 3, 4), "down": normal(6, 4, 3)}
PAIRS = [(X, jnp.ones((6, 3)))]


def squares(outputs, targets):
    return ((outputs - targets) ** 2).sum(-1)


IMPORTANCES = {
    "activation": jc.structure.importance.activation([X]),
    "taylor": jc.structure.importance.taylor(squares, PAIRS),
    "linearized": jc.structure.importance.linearized(squares, PAIRS),
    "exact": jc.structure.importance.exact(squares, PAIRS),
}


@pytest.mark.parametrize("name", IMPORTANCES)
def test_a_family_that_no_data_reaches_has_no_score_and_stays_whole(name):
    half = jc.structure.amounts.fraction(0.5)
    planned = jc.structure.plan(wide_branch, WIDE, IMPORTANCES[name], X, cut=half)
    assert {row.name: row.kept for row in planned.families} == {"in:1": 3, "up:1": 4}
    why = "no data reached their units, or nothing depends on them"
    assert {row.name: row.reason for row in planned.families} == {"in:1": "", "up:1": why}
    assert f"Whole, since {why}: up:1." in str(planned)
    if name == "activation":
        with pytest.raises(ValueError, match=r"activation\(batches=...\): all units of up:1 score"):
            jc.structure.plan(
                wide_branch,
                WIDE,
                IMPORTANCES[name],
                X,
                cut=jc.structure.Cut(half, families=["up:1"]),
            )
        scores = lambda *_: {"in:1": jnp.arange(5.0)}  # noqa: E731
        apart = jc.structure.importance.normalized(IMPORTANCES[name])
        for known, reason in ((scores, "the importance does not look"), (apart, why)):
            cut = jc.structure.Cut(half, families=["in:1", "up:1"])
            with pytest.raises(ValueError, match=f"asks for up:1, whose .* not known: {reason}"):
                jc.structure.plan(wide_branch, WIDE, known, X, cut=cut)


def test_a_consumer_that_reads_nothing_is_not_compensated():
    def fn(params, x):
        wide = jnp.maximum(x @ params["up"], 0.0)
        return wide @ params["a"] + (0 * wide) @ params["b"]

    params = {"up": normal(7, 4, 6), "a": normal(8, 6, 3), "b": normal(9, 6, 3)}
    removed = jc.graph.couplings(fn, params, X).removal({"up:1": [0, 3]})
    small = jc.graph.surgery.compensate(fn, params, removed, X)
    assert len(small.consumers) == len(small.left_out) == 1
    assert small.fn(small.params, X[:2]).shape == (2, 3)
    for bad, message in ((X.at[0, 0].set(jnp.nan), "holds a NaN"), (X[:0], "no example")):
        with pytest.raises(ValueError, match=rf"compensate\(inputs.*{message}"):
            jc.graph.surgery.compensate(fn, params, removed, bad)
    broken = params | {"up": params["up"].at[0, 3].set(jnp.inf)}
    with pytest.raises(ValueError, match=r"compensate\(inputs\): what consumer 0 .* not finite"):
        jc.graph.surgery.compensate(fn, broken, removed, X)


def test_statistics_count_the_batches_that_reach_them():
    def train_fn(params, x, key):
        moved = lambda old: 0.75 * old + 0.25 * x.mean()  # noqa: E731
        rare = jax.lax.cond(x.sum() > 0, moved, lambda old: old, params["rare"])
        never = jax.lax.cond(x.sum() > 99, moved, lambda old: old, params["never"])
        return x, {"mean": moved(params["mean"]), "rare": rare, "never": never}

    params = {"mean": jnp.array([9.0]), "rare": jnp.array([9.0]), "never": jnp.array([9.0])}
    batches = [(jnp.array([value]),) for value in (-2.0, 3.0, 5.0, 0.0)]
    found = jc.recalibrate(train_fn, params, batches, key=jax.random.key(0))
    assert {name: float(leaf[0]) for name, leaf in found.items()} == {
        "mean": 1.5,
        "rare": 4.0,
        "never": 9.0,
    }


def test_nothing_reached_anywhere_raises():
    zeros = [0 * X]
    observe = jc.observers.covariance()
    with pytest.raises(ValueError, match=r"calibrate\(batches\): no row other than 0 reached any"):
        jc.graph.calibrate(branch, AWAY | {"rare": normal(1, 5, 5)}, zeros, observe)
    with pytest.raises(ValueError, match=r"calibrate\(batches\): no row other than 0 reached any"):
        jc.prune.criteria.wanda(lambda params, x: x @ params["in"], AWAY, [0 * X])
