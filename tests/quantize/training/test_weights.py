"""Weights in training: the papers' values and gradients, shipped bit for bit."""

import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress.core.companions import Companion
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.sharing import Tensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize import formats, int4, int8, training

RANDOM = np.random.default_rng(0)
AXES = {
    "dense": jc.LeafAxes(contracting=(0,), output=(1,)),
    "convolution": jc.LeafAxes(contracting=(0, 1, 2), output=(3,)),
    "stacked": jc.LeafAxes(contracting=(1,), output=(2,), batch=(0,)),
}
AXES |= {"bfloat16": AXES["dense"], "float16": AXES["dense"]}
SHAPES = {"dense": (8, 6), "convolution": (3, 2, 4, 5), "stacked": (3, 8, 6)}
WEIGHTS = {name: RANDOM.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
PULLS = {name: RANDOM.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
PARAMS = {
    **WEIGHTS,
    "bfloat16": WEIGHTS["dense"].astype(jnp.bfloat16),
    "float16": WEIGHTS["dense"].astype(np.float16),
}
STEP = jc.Step(count=0, key=jax.random.key(1))
TWO_BITS = QuantSpec(Integers(2, -2, 1, symmetric=True), Tensor())


class Case(NamedTuple):
    """A technique, and its formulas on one block: (w, trained) -> (value, gradients).

    Gradients are those of the sum of values times `pull`, to w and to what is trained.
    """

    technique: Callable[..., Companion]
    formula: Callable[[np.ndarray, dict, np.ndarray], tuple[np.ndarray, np.ndarray, dict]]
    per: str = "channel"
    draws: bool = False


def rounding(highest):
    """To nearest on the range of the largest magnitude."""

    def formula(w, trained, pull):
        scale = np.abs(w).max() / highest
        return scale * np.clip(np.round(w / scale), -highest, highest), pull, {}

    return formula


def fixed(highest):
    def formula(w, trained, pull):
        scale = trained["scale"]
        inside = np.abs(w) <= highest * scale
        value = scale * np.clip(np.round(w / scale), -highest, highest)
        return value, pull * inside, {"scale": 0.0}

    return formula


def learned_step(lowest, highest):
    def formula(w, trained, pull):
        step = trained["step"]
        ratio = w / step
        codes = np.clip(np.round(ratio), lowest, highest)
        inside = (ratio >= lowest) & (ratio <= highest)
        by_step = np.where(inside, np.round(ratio) - ratio, codes)
        share = 1 / np.sqrt(w.size * highest)
        return step * codes, pull * inside, {"step": share * np.sum(pull * by_step)}

    return formula


def with_zero_point(highest):
    def formula(w, trained, pull):
        step, zero = trained["step"], np.round(trained["zero_point"])
        ratio = w / step
        codes = np.clip(np.round(ratio) + zero, 0, highest)
        inside = (ratio >= -zero) & (ratio <= highest - zero)
        by_step = np.where(inside, np.round(ratio) - ratio, codes - zero)
        share = 1 / np.sqrt(w.size * highest)
        grads = {
            "step": share * np.sum(pull * by_step),
            "zero_point": share * np.sum(pull * np.where(inside, 0, -step)),
        }
        return step * (codes - zero), pull * inside, grads

    return formula


def sign(w, trained, pull):
    return np.where(w > 0, 1, -1), pull * (np.abs(w) <= 1), {}


def scaled_sign(w, trained, pull):
    scale = np.abs(w).mean()
    return scale * np.where(w > 0, 1, -1), pull * (1 / w.size + scale * (np.abs(w) < 1)), {}


def dorefa_of_one_bit(w, trained, pull):
    return np.abs(w).mean() * np.where(w > 0, 1, -1), pull, {}


def dorefa(bits):
    most = 2**bits - 1

    def formula(w, trained, pull):
        w = w.astype(np.float64)
        largest = np.abs(np.tanh(w)).max()
        unit = np.tanh(w) / (2 * largest) + 0.5
        by_w = pull * (1 - np.tanh(w) ** 2) / largest
        # The largest tangent divides all of them, so each pulls at it.
        at = np.unravel_index(np.abs(w).argmax(), w.shape)
        slope = np.sign(w[at]) * (1 - np.tanh(w[at]) ** 2)
        by_w[at] -= np.sum(pull * np.tanh(w)) / largest**2 * slope
        return 2 * np.round(most * unit) / most - 1, by_w, {}

    return formula


def ternary(w, trained, pull):
    above = np.abs(w) > 0.7 * np.abs(w).mean()
    return np.abs(w)[above].mean() * np.sign(w) * above, pull, {}


def trained_ternary(w, trained, pull):
    delta = 0.05 * np.abs(w).max()
    up, down = trained["above"], trained["below"]
    above, below = w > delta, w < -delta
    value = np.where(above, up, np.where(below, -down, 0))
    by_w = pull * np.where(above, up, np.where(below, down, 1))
    return value, by_w, {"above": np.sum(pull * above), "below": -np.sum(pull * below)}


CASES = {
    "nearest": Case(lambda **k: training.nearest(int4(), **k), rounding(7)),
    "fixed ranges": Case(lambda **k: training.fixed_ranges(int4(), **k), fixed(7)),
    "LSQ": Case(lambda **k: training.learned_steps(int4(), **k), learned_step(-7, 7)),
    "LSQ of 8 bits": Case(lambda **k: training.learned_steps(int8(), **k), learned_step(-127, 127)),
    "LSQ of 2 bits": Case(
        lambda **k: training.learned_steps(TWO_BITS, **k), learned_step(-2, 1), "tensor"
    ),
    "LSQ+": Case(
        lambda **k: training.learned_steps_and_zero_points(formats.uint3(), **k),
        with_zero_point(7),
    ),
    "BinaryConnect": Case(training.binary_connect, sign, "tensor"),
    "stochastic BinaryConnect": Case(training.stochastic_binary_connect, sign, "tensor", True),
    "XNOR": Case(training.binary_weights, scaled_sign),
    "DoReFa of 1 bit": Case(
        lambda **k: training.dorefa_weights(1, **k), dorefa_of_one_bit, "tensor"
    ),
    "DoReFa of 3 bits": Case(lambda **k: training.dorefa_weights(3, **k), dorefa(3), "tensor"),
    "TWN": Case(training.ternary_weights, ternary, "tensor"),
    "TTQ": Case(training.trained_ternary, trained_ternary, "tensor"),
    "stochastic": Case(lambda **k: training.stochastic(int4(), **k), rounding(7), draws=True),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
without_draws = pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if not case.draws],
    ids=[name for name, case in CASES.items() if not case.draws],
)


def moved(companions):
    """Companions that are not where they begin."""
    return jax.tree.map(lambda x: x * 0.6, companions)


def blocks_of(per):
    """Names of leaves with the weights of each block, and the place of its scale."""
    for name in SHAPES:
        leaf = AXES[name]
        apart = (*leaf.batch, *(leaf.output if per == "channel" else ()))
        sizes = [size if axis in apart else 1 for axis, size in enumerate(SHAPES[name])]
        for index in np.ndindex(*sizes):
            kept = (slice(i, i + 1) if a in apart else slice(None) for a, i in enumerate(index))
            yield name, tuple(kept), index


@without_draws
def test_values_and_gradients_are_those_of_the_formulas_and_values_are_shipped(case):
    technique = case.technique(axes=AXES)
    companions = moved(technique.init(PARAMS))

    @jax.jit
    def found(params, companions):
        def pulled(params, companions):
            seen = technique.view(params, companions, STEP)
            return sum(jnp.sum(seen[name] * pull) for name, pull in PULLS.items()), seen

        grads, seen = jax.grad(pulled, (0, 1), has_aux=True)(params, companions)
        return grads, seen, jc.materialize(technique.freeze(params, companions))

    grads, seen, shipped = jax.tree.map(np.asarray, found(PARAMS, companions))
    for name, leaf in PARAMS.items():
        assert seen[name].dtype == shipped[name].dtype == leaf.dtype
        np.testing.assert_array_equal(seen[name], shipped[name])
        np.testing.assert_array_equal(np.signbit(seen[name]), np.signbit(shipped[name]))
    for name, kept, one in blocks_of(case.per):
        weight, pull = WEIGHTS[name][kept], PULLS[name][kept]
        own = {part: np.asarray(each)[one] for part, each in companions[name].items()}
        value, of_w, of_trained = case.formula(weight, own, pull)
        largest = np.abs(value).max() + np.abs(of_w).max()
        np.testing.assert_allclose(seen[name][kept], value, rtol=0, atol=2**-20 * largest)
        np.testing.assert_allclose(grads[0][name][kept], of_w, rtol=0, atol=2**-18 * largest)
        for part, expected in of_trained.items():
            # A sum of as many rounded terms as there are weights, each up to a code.
            atol = 2**-23 * weight.size * np.abs(pull).max() * 127
            np.testing.assert_allclose(grads[1][name][part][one], expected, rtol=0, atol=atol)


@pytest.mark.parametrize("draw", ["stochastic", "stochastic BinaryConnect"])
def test_draws_are_right_in_the_mean_and_shipped_without_noise(draw):
    technique = CASES[draw].technique()
    params = {"w": jnp.full((4000, 2), 0.25).at[0].set(1.0)}
    companions = technique.init(params)
    shown = technique.view(params, companions, STEP)["w"]
    other = technique.view(params, companions, jc.Step(1, jax.random.key(2)))["w"]
    assert np.any(shown != other)
    levels = (-1.0, 1.0) if "Binary" in draw else (1 / 7, 2 / 7)
    assert {round(float(each), 4) for each in np.unique(shown[1:])} == {
        round(each, 4) for each in levels
    }
    # Five standard errors of a mean of 7,998 draws.
    chance = (0.25 - levels[0]) / (levels[1] - levels[0])
    error = 5 * (levels[1] - levels[0]) * np.sqrt(chance * (1 - chance) / 7998)
    assert abs(float(jnp.mean(shown[1:])) - 0.25) < error
    value, _, _ = CASES[draw].formula(np.asarray(params["w"]), {}, np.ones((4000, 2)))
    np.testing.assert_allclose(technique.freeze(params, companions)["w"].materialize(), value)
    with pytest.raises(ValueError, match="draws noise and was given no key"):
        technique.view(params, companions)


@every_case
def test_one_trace_a_falling_loss_and_steps_that_are_moved(case):
    technique = case.technique()
    x = jnp.asarray(RANDOM.standard_normal((32, 8)), jnp.float32)
    y = x @ np.sign(WEIGHTS["dense"])
    optimizer, traces = optax.adam(0.03), []

    @jax.jit
    def step(both, state, count):
        traces.append(count)

        def loss(both):
            seen = technique.view(*both, jc.Step(count, jax.random.fold_in(STEP.key, count)))
            return jnp.mean((x @ seen["w"] * jnp.exp(seen["gain"]) - y) ** 2)

        value, grads = jax.value_and_grad(loss)(both)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(grads, state, both)
        return optax.apply_updates(both, updates), state, value

    params = {"w": 0.5 * jnp.asarray(WEIGHTS["dense"][::-1]), "gain": jnp.zeros(())}
    begun = both = (params, technique.init(params))
    state, losses = optimizer.init(both), []
    for count in range(60):
        both, state, value = step(both, state, count)
        losses.append(float(value))
    assert len(traces) == 1
    assert np.mean(losses[-5:]) < 0.6 * losses[0]
    for name, leaf in both[1]["w"].items():
        assert bool(jnp.any(leaf != begun[1]["w"][name])) == (name != "scale")
    shipped = technique.freeze(*both)
    assert isinstance(shipped["w"], jc.QTensor)
    assert shipped["gain"] is both[0]["gain"]


@every_case
def test_what_is_not_finite_stays_so_with_its_gradient_and_odd_blocks_are_finite(case):
    technique = case.technique()
    odd = {"zeros": jnp.zeros((4, 3)), "ones": jnp.ones((4, 3)), "one": jnp.eye(4, 3)}
    odd["huge"] = jnp.full((4, 3), jnp.finfo(jnp.float32).max)
    weight = jnp.asarray(WEIGHTS["dense"]).at[2, 1].set(jnp.nan).at[3, 4].set(jnp.inf)
    begun = {"w": jnp.asarray(WEIGHTS["dense"]), **odd}
    companions = technique.init(begun)

    @jax.jit
    def total(params, companions):
        seen = technique.view(params, companions, STEP)
        # Times 2**-8, for a sum of huge weights to be finite.
        value = sum(jnp.sum(seen[name] * 2**-8) for name in odd)
        return value + jnp.sum(jnp.where(jnp.isfinite(weight), 0, seen["w"])), (seen["w"], value)

    bad = {"w": weight, **odd}
    (grads, by_trained), (seen, value) = jax.grad(total, (0, 1), has_aux=True)(bad, companions)
    assert np.isfinite(value)
    assert not np.any(np.isfinite(np.asarray(seen)[~np.isfinite(weight)]))
    np.testing.assert_array_equal(grads["w"][2, 1], 1.0)
    np.testing.assert_array_equal(grads["w"][3, 4], 1.0)
    shipped = technique.freeze(odd, {name: companions[name] for name in odd})
    for name in odd:
        for leaf in jax.tree.leaves((grads[name], by_trained[name], shipped[name])):
            assert np.isfinite(leaf).all()
    with pytest.raises(ValueError, match=r"leaf 'w' (holds|has) .*(NaN|finite)"):
        technique.freeze(bad, companions)


@pytest.mark.parametrize("name", ["LSQ", "LSQ+", "TTQ"])
def test_steps_that_an_update_made_negative_or_0_count_as_positive(name):
    technique = CASES[name].technique()
    params = {"w": jnp.asarray(WEIGHTS["dense"])}
    companions = technique.init(params)
    turned = jax.tree.map(jnp.array, companions)
    turned["w"] = {
        part: each if part == "zero_point" else -each for part, each in turned["w"].items()
    }
    view = jax.jit(technique.view)
    seen, of_turned = (view(params, each)["w"] for each in (companions, turned))
    np.testing.assert_array_equal(seen, of_turned)
    nothing = {"w": jax.tree.map(jnp.zeros_like, companions["w"])}
    assert np.isfinite(view(params, nothing)["w"]).all()
    # What lies at 0 is not stuck there.
    along = lambda each: jnp.sum(technique.view(params, each)["w"] * params["w"])  # noqa: E731
    slope = jax.jit(jax.grad(along))
    from_zero = slope(nothing)["w"]
    assert all(np.any(leaf != 0) for part, leaf in from_zero.items() if part != "zero_point")
    grads, of_grads = (slope(each)["w"] for each in (companions, turned))
    for part, each in grads.items():
        sign = 1 if part == "zero_point" else -1
        np.testing.assert_allclose(of_grads[part], sign * each, rtol=1e-6)


@pytest.mark.parametrize("name", ["LSQ", "LSQ+", "TTQ", "fixed ranges", "with zero point"])
def test_companions_that_diverged_are_seen_and_not_shipped(name):
    uint4 = training.fixed_ranges(formats.uint4())
    technique = uint4 if "zero" in name else CASES[name].technique()
    params = {"w": jnp.asarray(WEIGHTS["dense"])}
    companions = technique.init(params)
    view = jax.jit(technique.view)
    for part in companions["w"]:
        for value in (jnp.nan, jnp.inf):
            gone = {"w": companions["w"] | {part: jnp.full_like(companions["w"][part], value)}}
            assert not np.isfinite(view(params, gone)["w"]).all(), part
            message = rf"leaf 'companions/w/{part}' holds .* not finite"
            with pytest.raises(ValueError, match=message):
                technique.freeze(params, gone)


def test_steps_begin_as_the_paper_says_and_zeros_do_not_count():
    weight = np.array([[1.0, 0.0], [-3.0, 0.0], [0.0, 0.0]], np.float32)
    begun = training.learned_steps(int4()).init({"w": weight})["w"]["step"]
    np.testing.assert_allclose(begun, [[2 * 2 / np.sqrt(7), 1.0]], rtol=1e-6)


def test_pruned_weights_stay_0_where_the_format_has_a_0():
    weight = np.where(np.abs(WEIGHTS["dense"]) < 0.5, 0, WEIGHTS["dense"])
    params = {"w": weight}
    for name in ("nearest", "LSQ", "LSQ+", "TWN", "TTQ", "stochastic"):
        technique = CASES[name].technique()
        companions = technique.init(params)
        for seen in (
            technique.view(params, companions, STEP),
            technique.freeze(params, companions),
        ):
            assert np.all(np.asarray(jc.materialize(seen)["w"])[weight == 0] == 0)


@every_case
def test_companions_come_back_from_files_and_from_shapes(case, tmp_path):
    technique = case.technique()
    params = {"w": jnp.asarray(WEIGHTS["dense"])}
    companions = technique.init(params)
    shapes = jax.eval_shape(technique.init, jax.eval_shape(lambda: params))
    assert jax.tree.structure(shapes) == jax.tree.structure(companions)
    jc.storage.save(tmp_path / "all.safetensors", {"params": params, "companions": companions})
    loaded = jc.storage.load(tmp_path / "all.safetensors")
    view = jax.jit(technique.view)
    found = view(loaded["params"], loaded.get("companions", {}), STEP)
    np.testing.assert_array_equal(found["w"], view(params, companions, STEP)["w"])


WRONG = {
    "learned_steps(spec=nf4 per channel) must have integers around zero": lambda: (
        training.learned_steps(formats.nf4())
    ),
    "learned_steps(spec=uint4 per channel) must have integers around zero": lambda: (
        training.learned_steps(formats.uint4())
    ),
    "learned_steps_and_zero_points(spec=int4 per channel) must have integers with": lambda: (
        training.learned_steps_and_zero_points(int4())
    ),
    "binary_weights(spec=int4 per channel) must be a format of formats.binary()": lambda: (
        training.binary_weights(int4())
    ),
    "ternary_weights(spec=int4 per channel) must be a format of formats.ternary()": lambda: (
        training.ternary_weights(int4())
    ),
    "ternary_weights(threshold=0) must be": lambda: training.ternary_weights(threshold=0),
    "trained_ternary(spec=codebook of 8 per channel) must be": lambda: training.trained_ternary(
        formats.codebook(3)
    ),
    "trained_ternary(threshold=1) must be": lambda: training.trained_ternary(threshold=1),
    "dorefa_weights(bits=9) must be from 1 to 8": lambda: training.dorefa_weights(9),
    "dorefa_weights(bits=0) must be": lambda: training.dorefa_weights(0),
    "stochastic(spec=codebook of 4 per channel): each leaf has levels": lambda: training.stochastic(
        formats.codebook(2)
    ),
    "fixed_ranges(spec=mxfp4": lambda: training.fixed_ranges(formats.mxfp4()),
    "gradual(stages=...) begins at steps [5]; the first must be 0": lambda: training.gradual(
        {5: training.binary_connect()}
    ),
    "gradual(stages=...) begins at steps [0, 9, 3]: one stage would end before": lambda: (
        training.gradual(dict.fromkeys((0, 9, 3), training.binary_connect()))
    ),
    "delayed(begin=-1) must be": lambda: training.delayed(training.binary_connect(), -1),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments_are_named(message):
    if "mxfp4" in message:
        message, make = "fixed_ranges(spec=fp4_e2m1 in groups of 32", WRONG[message]
    else:
        make = WRONG[message]
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_companions_of_other_leaves_are_refused():
    technique = training.learned_steps(int4())
    params = {"w": jnp.ones((4, 3))}
    with pytest.raises(ValueError, match=r"learned_steps\(companions={}\) is empty"):
        technique.view(params, {})
    with pytest.raises(ValueError, match="there is no leaf 'v'"):
        technique.view(params, {"v": {"step": jnp.ones((1, 3))}})
    with pytest.raises(ValueError, match=r"'w' has shapes {'step': \(1, 4\)}, and must have"):
        technique.view(params, {"w": {"step": jnp.ones((1, 4))}})
    with pytest.raises(ValueError, match=r"'w' has shapes \(1, 3\), and must have"):
        technique.view(params, {"w": jnp.ones((1, 3))})
    with pytest.raises(TypeError, match=r"learned_steps\(companions=None\) must be a mapping"):
        technique.view(params, None)
    stages = training.gradual({0: technique, 5: technique})
    for use in (stages.view, stages.freeze, stages.penalty):
        with pytest.raises(ValueError, match="must be those of the stages 0, 1, not w"):
            use(params, technique.init(params))


@pytest.mark.parametrize("name", ["learned_steps", "stochastic", "delayed", "gradual"])
def test_a_count_alone_is_no_step(name):
    plain = training.learned_steps(int4())
    technique = {
        "learned_steps": plain,
        "stochastic": training.stochastic(int4()),
        "delayed": training.delayed(plain, 3),
        "gradual": training.gradual({0: plain}),
    }[name]
    params = {"w": jnp.ones((4, 3))}
    with pytest.raises(TypeError, match=rf"{name}\(step=3\) must be of type Step, not int"):
        technique.view(params, technique.init(params), 3)


def test_a_delayed_technique_shows_floats_before_it_begins():
    late = training.delayed(training.learned_steps(int4()), 3)
    params = {"w": jnp.asarray(WEIGHTS["dense"]), "bias": jnp.ones(6)}
    companions = late.init(params)
    view = jax.jit(lambda count: late.view(params, companions, jc.Step(count)))
    np.testing.assert_array_equal(view(2)["w"], params["w"])
    shipped = late.freeze(params, companions)
    np.testing.assert_array_equal(view(3)["w"], shipped["w"].materialize())


def test_stages_follow_one_another_and_only_one_is_trained():
    stages = {0: int8(), 2: int4(), 5: formats.ternary()}
    technique = training.gradual(
        {begin: training.learned_steps(spec) for begin, spec in stages.items()}
    )
    params = {"w": jnp.asarray(WEIGHTS["dense"])}
    companions = technique.init(params)

    @jax.jit
    def seen(companions, count):
        return technique.view(params, companions, jc.Step(count))["w"]

    for count, now in ((0, 0), (1, 0), (2, 1), (4, 1), (5, 2), (99, 2)):
        alone = training.learned_steps(list(stages.values())[now])
        expected = jax.jit(alone.view)(params, companions[str(now)])["w"]
        np.testing.assert_array_equal(seen(companions, count), expected)
        grads = jax.grad(lambda each, count=count: jnp.sum(seen(each, count)))(companions)
        alive = [bool(jnp.any(grads[str(i)]["w"]["step"] != 0)) for i in range(3)]
        assert alive == [i == now for i in range(3)]
    assert technique.freeze(params, companions)["w"].spec == formats.ternary()


def test_the_proximal_step_moves_to_levels_and_no_further():
    weight = np.array([[7.0], [2.3], [-0.9], [3.45]], np.float32)
    towards = training.proximal_grid(optax.linear_schedule(0.1, 0.7, 3), int4())
    optimizer = optax.chain(optax.sgd(1.0), towards)
    params, state = {"w": jnp.asarray(weight)}, optimizer.init({"w": jnp.asarray(weight)})
    # By 0.1, 0.3 and 0.5, towards 7, 2, -1 and 3; levels lie at whole numbers.
    expected = [[7, 2.2, -1, 3.35], [7, 2, -1, 3.05], [7, 2, -1, 3]]
    for values in expected:
        updates, state = optimizer.update({"w": jnp.zeros((4, 1))}, state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params["w"][:, 0], values, rtol=0, atol=2**-20)
    shipped, _ = jc.quantize.quantize(params, int4())
    np.testing.assert_array_equal(shipped["w"].materialize(), params["w"])


def test_rules_give_each_leaf_its_own_width():
    specs = jc.Rules({"first": int8(), "*": int4()})
    technique = training.learned_steps(specs)
    params = {"first": jnp.ones((4, 3)), "second": jnp.ones((3, 2))}
    shipped = technique.freeze(params, technique.init(params))
    assert (shipped["first"].spec.bits, shipped["second"].spec.bits) == (8, 4)


def test_training_is_lowered_for_accelerators():
    technique = training.learned_steps(int4())
    params = {"w": jnp.ones((8, 6))}
    companions = technique.init(params)
    step = jax.jit(jax.grad(lambda both: jnp.sum(technique.view(*both)["w"])))
    for platform in ("tpu", "cuda"):
        assert step.trace((params, companions)).lower(lowering_platforms=(platform,)).as_text()
