"""The commonest slips: each is refused where it is made, with what was meant."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import jaxcompress

jc: Any = jaxcompress  # a checker of types refuses most slips before they are made
P, S = jc.prune, jc.prune.solvers
PARAMS = {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}
MASKS = {"kernel": jnp.eye(4, dtype=bool), "bias": jnp.array(True)}
X = jnp.ones((3, 4))
MODULE = {"layers": [{"weight": jnp.ones((4, 4))}], "activation": jax.nn.relu}
FORMATS = jc.quantize.formats


def model(params, x):
    return x @ params["kernel"]


def loss(outputs, targets):
    return jnp.sum((outputs - targets) ** 2, axis=-1)


def pruned(criterion: Any = P.criteria.magnitude(), target: Any = 0.5):
    return P.one_shot(PARAMS, criterion, target)


def training(inner: Any = optax.sgd(0.1), criterion: Any = P.criteria.magnitude(), **options):
    return P.prune(inner, criterion, 0.5, **options)


SPECS = [
    ("int8", "spec='int8'.* Did you mean formats.int8\\(\\)\\?"),
    (jc.quantize.int8, "spec=int8.* Did you mean int8\\(\\.\\.\\.\\), which gives one\\?"),
    ({"*": jc.quantize.int8()}, "spec={'\\*': .* Did you mean Rules\\({\\.\\.\\.}\\)\\?"),
    (jc.Rules({"*": jc.quantize.int4}), "spec=int4.* Did you mean int4\\(\\.\\.\\.\\)"),
    (jc.quantize.execution.dynamic(), "spec=Activations.* must be of type QuantSpec"),
    (8, "spec=8\\) must be of type QuantSpec, not int. Call a format"),
]
TAKE_SPECS = {
    "quantize": functools.partial(jc.quantize.quantize, PARAMS),
    "fake_quantize": jc.quantize.fake_quantize,
    "fake_quantize_model": functools.partial(jc.quantize.fake_quantize_model, model),
}


@pytest.mark.parametrize("caller", TAKE_SPECS)
@pytest.mark.parametrize(("spec", "message"), SPECS)
def test_what_is_no_format(caller, spec, message):
    with pytest.raises(TypeError, match=f"^{caller}\\({message}"):
        TAKE_SPECS[caller](spec)


NEAREST = jc.quantize.rounding.nearest
QUANTIZED = functools.partial(jc.quantize.quantize, PARAMS, jc.quantize.int8())
CALLS = {
    "letters as rules": (
        lambda: jc.Rules("int8"),
        r"^Rules\(pairs='int8'\) must be a dict from pattern to value",
    ),
    "a range as estimator": (
        lambda: NEAREST((-1.0, 1.0)),
        r"^nearest\(ranges=\(-1.0, 1.0\)\) must be a function. Pass an estimator, as ranges.min_m",
    ),
    "an estimator called": (
        lambda: NEAREST(jc.quantize.ranges.moving_average(decay=0.5)),
        r"^nearest\(ranges=Observer.* whose options functools.partial binds",
    ),
    "params as axes": (
        lambda: QUANTIZED(axes=PARAMS),
        r"^quantize\(axes=...\) holds float32\[4\] at 'bias', no LeafAxes. Make it with graph.axes",
    ),
    "a selector uncalled": (
        lambda: QUANTIZED(select=jc.weights),
        r"^quantize\(select=weights\).* Did you mean weights\(...\)",
    ),
    "a selector of one bool": (
        lambda: QUANTIZED(select=lambda params: True),
        r"^quantize\(select=<lambda>\) gives 'nothing' at 'bias', and must give a bool",
    ),
    "a selector of names": (
        lambda: QUANTIZED(select=lambda params: jc.leaf_names(params)),
        r"^quantize\(select=<lambda>\) gives 'bias' at 'bias', and must give a bool for every",
    ),
    "data as activations": (
        lambda: jc.quantize.fake_quantize_activations(model, {"*": jc.quantize.int8()}),
        r"^fake_quantize_activations\(activations=.* Did you mean Rules\({...}\)\?",
    ),
    "a criterion uncalled": (
        lambda: pruned(P.criteria.magnitude),
        r"^one_shot\(criterion=magnitude\).* Did you mean magnitude\(...\), which gives one\?",
    ),
    "a criterion uncalled in training": (
        lambda: training(criterion=P.criteria.saliency),
        r"^prune\(criterion=saliency\).* Did you mean saliency\(...\), which gives one\?",
    ),
    "a criterion by name": (
        lambda: P.masks(PARAMS, "magnitude", 0.5),
        r"^masks\(criterion='magnitude'\) must be of type Criterion, not str. Call one of prune.cr",
    ),
    "a growth uncalled": (
        lambda: P.regrow(optax.sgd(0.1), P.criteria.gradient_momentum, MASKS),
        r"^regrow\(growth=gradient_momentum\).* Did you mean gradient_momentum\(...\)",
    ),
    "a pattern uncalled": (
        lambda: P.Target(0.5, P.patterns.n_of_m),
        r"^Target\(pattern=n_of_m\) must be a function of 3 .* Did you mean n_of_m\(...\)",
    ),
    "a pattern by name": (
        lambda: P.Target(0.5, "2:4"),
        r"^Target\(pattern='2:4'\) must be a function. Take one of prune.patterns, as outputs or",
    ),
    "an allocation uncalled": (
        lambda: P.Target(0.5, allocate=P.allocations.outliers),
        r"^Target\(allocate=outliers\) must be a function of 3 .* Did you mean outliers\(...\)",
    ),
    "a target's selector of names": (
        lambda: pruned(target=P.Target(0.5, select=lambda params: jc.leaf_names(params))),
        r"^one_shot: Target\(select=<lambda>\) gives 'bias' at 'bias', and must give a bool for",
    ),
    "a target's selector of one bool": (
        lambda: pruned(target=P.Target(0.5, select=lambda params: True)),
        r"^one_shot: Target\(select=<lambda>\) gives .* and must give a bool for every leaf",
    ),
    "a target's selector of other leaves": (
        lambda: pruned(target=P.Target(0.5, select=lambda params: {"kernel": True})),
        r"^one_shot: Target\(select=<lambda>\) gives 'nothing' at 'bias', and must give a bool",
    ),
    "a target's selector uncalled": (
        lambda: P.Target(0.5, select=jc.weights),
        r"^Target\(select=weights\).* Did you mean weights\(...\)",
    ),
    "a target's axes are params": (
        lambda: P.Target(0.5, axes=PARAMS),
        r"^Target\(axes=...\) holds float32\[4\] at 'bias', no LeafAxes. Make it with graph.axes",
    ),
    "sparsities in a dict": (
        lambda: pruned(target={"kernel": 0.5}),
        r"^one_shot\(target={'kernel': 0.5}\): a sparsity is .* Did you mean Rules\({...}\)\?",
    ),
    "a schedule uncalled": (
        lambda: P.Target(jc.schedules.cubic),
        r"^Target\(sparsity=cubic\) must be a function of 1 .* Did you mean cubic\(...\)",
    ),
    "an array above 1": (
        lambda: pruned(target=jnp.float32(1.5)),
        r"^one_shot\(target=1.5\) must be in \[0, 1\)",
    ),
    "an optimizer uncalled": (
        lambda: training(optax.adam),
        r"^prune\(inner=adam\) must be an optax .* Did you mean adam\(...\)",
    ),
    "a number of steps as when": (
        lambda: training(when=100),
        r"^prune\(when=100\) must be a function. For example schedules.every\(100\)",
    ),
    "when uncalled": (
        lambda: training(when=jc.schedules.every),
        r"^prune\(when=every\) is not called. For example schedules.every\(100\)",
    ),
    "a solver uncalled": (
        lambda: P.reconstruct(model, PARAMS, [X], S.sparsegpt, 0.5),
        r"^reconstruct\(solver=sparsegpt\) must be a function of 3 .* mean sparsegpt\(...\)",
    ),
    "a function as solver of a layer": (
        lambda: jc.layerwise.solve(
            "solve", model, PARAMS, [(X,)], {"kernel": lambda weight, moment: weight}
        ),
        r"^solve\(solvers\['kernel'\]=<lambda>\) must be of type Solver.* layerwise.weight_solver",
    ),
    "damping as text": (
        lambda: S.sparsegpt(damping="0.01"),
        r"^sparsegpt\(damping='0.01'\) must be above 0, and finite",
    ),
    "a correction as text": (
        lambda: P.reconstruct(model, PARAMS, [X], S.sparsegpt(), 0.5, correction="half"),
        r"^reconstruct\(correction='half'\) must be in \[0, 1\]",
    ),
    "masks as masking": (
        lambda: P.views.straight_through(MASKS),
        r"^straight_through\(masking={.* must be a function. Pass by_magnitude\(target\), or lam",
    ),
    "weights as masks": (
        lambda: P.hold(optax.sgd(0.1), PARAMS),
        r"^hold\(masks=...\): leaf 'bias' has dtype float32, masks are bool",
    ),
    "one batch": (
        lambda: P.criteria.wanda(model, PARAMS, X),
        r"^wanda\(batches=...\) is a .* no list of batches. Pass \[batch\]",
    ),
    "a pattern of no mask": (
        lambda: pruned(target=P.Target(0.5, lambda scores, sparsity, axes: scores)),
        r"^one_shot: Target\(pattern=<lambda>\) gives .* for leaf 'kernel', and must give a bool m",
    ),
    "an allocation of one number": (
        lambda: pruned(target=P.Target(0.5, allocate=lambda scores, axes, sparsity: sparsity)),
        r"^Target\(allocate=<lambda>\) gives 0.5, and must give .* leaf name; 'kernel' has none",
    ),
    "a criterion of other leaves": (
        lambda: pruned(P.criteria.magnitude()._replace(score=lambda state, params: {})),
        r"^one_shot\(criterion=...\) gives None as scores of leaf 'kernel', and must give an array",
    ),
    "a pattern that does not fit": (
        lambda: P.masks(PARAMS, P.criteria.magnitude(), P.Target(0.5, P.patterns.n_of_m(1, 3))),
        r"^masks: .*'kernel'.* 3 does not divide the 4 inputs of an output",
    ),
    "a pattern that needs axes": (
        lambda: P.masks(
            {"kernel": jnp.ones((2, 2, 2))},
            P.criteria.magnitude(),
            P.Target(0.5, P.patterns.outputs),
        ),
        r"^masks: leaf 'kernel': outputs: .* Pass axes=graph.axes\(fn, params, \*inputs\)",
    ),
    "a companion's selector of names": (
        lambda: P.companions.l0_gates(select=lambda params: jc.leaf_names(params)).init(PARAMS),
        r"^l0_gates\(select=<lambda>\) gives 'bias' at 'bias', and must give a bool for every leaf",
    ),
    "an estimator of no observer": (
        lambda: QUANTIZED(rounding=NEAREST(lambda spec, axis: (-1.0, 1.0))),
        r"^ranges=<lambda> gives \(-1.0, 1.0\), and must give an Observer, as ranges.min_max does",
    ),
    "training that gives nothing": (
        lambda: P.iterative(PARAMS, P.criteria.magnitude(), [0.5], train=lambda *rest: None),
        r"^iterative\(train=...\) has no leaf 'bias', which the params have",
    ),
    "a loss that gives nothing": (
        lambda: P.criteria.snip(model, PARAMS, lambda outputs, targets: None, [(X, X)]),
        r"^snip\(loss\(outputs, targets\)=None\) must be an array of real numbers",
    ),
    "text among masks": (
        lambda: P.apply({"kernel": "all", "bias": True}, PARAMS),
        r"^apply\(masks=...\): leaf 'kernel' is 'all', masks are bool",
    ),
    "batches without targets": (
        lambda: P.criteria.snip(model, PARAMS, loss, [X]),
        r"^snip\(batches\): batch 0 is float32\[3, 4\], no pair \(inputs, targets\)",
    ),
}


@pytest.mark.parametrize("slip", CALLS)
def test_slips(slip):
    call, message = CALLS[slip]
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_a_bool_is_a_mask():
    kept = {"kernel": True, "bias": True}
    assert P.apply(kept, PARAMS)["kernel"].all()
    assert P.sparsity_of(kept, PARAMS).overall == 0


TRANSFORMS = {
    "prune": training(),
    "hold": P.hold(optax.sgd(0.1), MASKS),
    "regrow": P.regrow(optax.sgd(0.1), P.criteria.gradient_momentum(), MASKS),
}


@pytest.mark.parametrize("caller", TRANSFORMS)
def test_updates_of_other_leaves_name_the_first(caller):
    optimizer, kernel = TRANSFORMS[caller], {"kernel": PARAMS["kernel"]}
    state = optimizer.init(PARAMS)
    with pytest.raises(ValueError, match=rf"^{caller}\(updates=...\) has no leaf 'bias', which"):
        optimizer.update(kernel, state, PARAMS)
    with pytest.raises(ValueError, match=rf"^{caller}\(updates=...\) has a leaf 'bias', which"):
        optimizer.update(PARAMS, state, kernel)


@pytest.mark.parametrize("caller", TRANSFORMS)
def test_the_state_of_another_optimizer_is_refused(caller):
    other = optax.adam(0.1).init(PARAMS)
    with pytest.raises(
        TypeError, match=rf"^{caller}\(state=.* must be of type PruneState, not tuple"
    ):
        TRANSFORMS[caller].update(PARAMS, other, PARAMS)


MODULES = {
    "quantize": lambda params: jc.quantize.quantize(params, jc.quantize.int8()),
    "fake_quantize": lambda params: jc.quantize.fake_quantize(jc.quantize.int8())(params),
    "explain": lambda params: jc.quantize.explain(params),
    "one_shot": lambda params: P.one_shot(params, P.criteria.magnitude(), 0.5),
    "masks": lambda params: P.masks(params, P.criteria.magnitude(), 0.5),
    "prune": lambda params: training().init(params),
    "by_magnitude": lambda params: P.views.by_magnitude(0.5)(params),
    "snip": lambda params: P.criteria.snip(model, params, loss, [(X, X)]),
}


@pytest.mark.parametrize("caller", MODULES)
def test_a_module_with_its_functions(caller):
    message = rf"^{caller}\((params|tree)=...\): leaf 'activation' is relu .* its bridge in jc.bri"
    with pytest.raises(TypeError, match=message):
        MODULES[caller](MODULE)
