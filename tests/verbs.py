"""Every verb, view and transformation on a tiny model: one table for laws over all.

A row takes the arrays, which may be traced; all else is fixed. `EAGER` rows look at
values and work outside of transformed functions alone; `TRACED` rows work inside.
"""

import functools
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from jaxcompress import adapt, distill, graph, kernels, prune, quantize, storage, structure
from jaxcompress import validate as v
from jaxcompress.prune import criteria, patterns
from jaxcompress.structure import amounts, importance, ranks
from tests.optimizers.table import OPTIMIZERS
from tests.prune.families.allocations import ALLOCATIONS
from tests.prune.families.criteria import CRITERIA
from tests.prune.families.patterns import PATTERNS
from tests.quantize.rounding.family import ROUNDINGS
from tests.test_companions import CASES as COMPANIONS

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


class Data(NamedTuple):
    """What the rows share: params of `model` and of `deep`, a batch, and labels."""

    params: Any
    deep: Any
    x: Any
    labels: Any

    @property
    def batches(self) -> list:
        """Inputs and targets of the model, which is as wide at its end."""
        return [(self.x, self.x)]


DATA = Data(
    params={"in": normal(4, 8), "bias": normal(8), "out": normal(8, 4)},
    deep={"first": 0.3 * normal(4, 4), "layers": 0.3 * normal(3, 4, 4)},
    x=normal(6, 4),
    labels=np.array([0, 1, 2, 3, 0, 1], np.int32),
)
Row = Callable[[Data], Any]


def low_precision_gradients(d, precision):
    technique = quantize.training.low_precision(model, precision)
    histories = technique.init(d.params, d.x)

    def loss(params, histories):
        return jnp.sum(technique.model(params, histories, d.x))

    return jax.grad(loss, (0, 1))(d.params, histories)


def model(params, x):
    return jnp.tanh(x @ params["in"] + params["bias"][None]) @ params["out"]


def rectified(params, x):
    return jax.nn.relu(x @ params["in"] + params["bias"][None]) @ params["out"]


def linear(params, x):
    return x @ params["in"] @ params["out"]


def deep(params, x):
    """A residual block, then three of a stack."""
    x = x + jnp.tanh(x @ params["first"])
    return jax.lax.scan(lambda x, w: (x + jnp.tanh(x @ w), None), x, params["layers"])[0]


def train(params, x, *, key):
    """A running mean of the batch in place of the bias."""
    del key
    moved = 0.75 * params["bias"] + 0.25 * jnp.mean(x @ params["in"], axis=0)
    return model(params, x), params | {"bias": moved}


def loss(outputs, targets):
    return jnp.sum((outputs - targets) ** 2, axis=-1)


MAGNITUDE = criteria.magnitude()
INT8, DYNAMIC = quantize.int8(), quantize.execution.dynamic()
MIN_MAX = quantize.ranges.min_max()
HALF = amounts.fraction(0.5)
SOON = jc.schedules.every(1)


def halved(params):
    return jax.tree.map(lambda leaf: leaf > 0 if leaf.ndim > 1 else jnp.array(True), params)


def slopes(params):
    return jax.tree.map(lambda leaf: jnp.cos(3 * leaf) + 1.5, params)


def stepped(transformation, params):
    """Params and state after two updates."""
    state = transformation.init(params)
    for _ in range(2):
        updates, state = transformation.update(slopes(params), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return params, state


def seen(view, d: Data):
    """A view and its gradient."""

    def pulled(params):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(view(params)))

    return view(d.params), jax.grad(pulled)(d.params)


def adapted(method, base, d: Data):
    """Seen and run apart, with gradients of the adapters."""
    technique, params = method(2, adapt.starts.random(jax.random.key(0))), base(d)
    models = (jc.materialized(model), technique.view), (adapt.run(model), technique.apart)

    def pulled(adapters, fn, given):
        return jnp.sum(fn(given(params, adapters), d.x) ** 2)

    adapters = technique.init(params)
    return technique.merge(params, adapters), [
        jax.value_and_grad(pulled)(adapters, *each) for each in models
    ]


def companion(technique, d: Data):
    begun, step = technique.init(d.params), jc.Step(1, jax.random.key(0))
    shown = technique.view(d.params, begun, step)
    return shown, technique.freeze(d.params, begun), technique.penalty(d.params, begun)


def scored(row, d: Data):
    criterion = row.make(d.params, model, d.x)
    state = criterion.update(slopes(d.params), criterion.init(d.params), d.params)
    return criterion.score(state, d.params)


def patterned(pattern, d: Data):
    return pattern(jnp.abs(d.params["in"]), 0.5, jc.LeafAxes((0,), (1,)))


def allocated(row, d: Data):
    scores = {name: jnp.abs(d.params[name]) for name in ("in", "out")}
    axes = {name: jc.LeafAxes((0,), (1,)) for name in scores}
    return row.make(tuple(scores))(scores, axes, 0.5)


def quantized(d: Data, spec=INT8):
    return quantize.quantize(d.params, spec)[0]


def run(activations, d: Data):
    def slower_dense(functions):
        return {name: 1.0 + (name == "dense") for name in functions}

    plan = quantize.plan_execution(
        model, quantized(d), d.x, activations=activations(d), probe=slower_dense
    )
    return quantize.run(model, plan)(plan.hold(quantized(d)), d.x)


def calibrated(d: Data):
    return graph.calibrate(model, d.params, [d.x], MIN_MAX)


def removed(score, d: Data, cut=HALF):
    return structure.remove(model, d.params, score(d), d.x, cut=cut)


def saved(d: Data):
    with tempfile.TemporaryDirectory() as folder:
        storage.save(folder + "/x", quantized(d))
        return jc.materialize(storage.load(folder + "/x"))


def reconstructed(solver, d: Data):
    return prune.reconstruct(model, d.params, [d.x], solver, 0.5)


IMPORTANCE: dict[str, Row] = {
    "magnitude": lambda d: importance.magnitude(),
    "normalized": lambda d: importance.normalized(importance.magnitude()),
    "activation": lambda d: importance.activation([d.x]),
    "exact": lambda d: importance.exact(loss, d.batches),
    "linearized": lambda d: importance.linearized(loss, d.batches),
    "taylor": lambda d: importance.taylor(loss, d.batches),
    "second_order": lambda d: importance.second_order(loss, d.batches),
}
EAGER: dict[str, Row] = {
    "masks": lambda d: prune.masks(d.params, MAGNITUDE, 0.5),
    "masks, padded": lambda d: prune.masks(
        d.params, MAGNITUDE, prune.Target(0.5, patterns.padded(patterns.n_of_m(1, 3), 3))
    ),
    "one_shot": lambda d: prune.one_shot(d.params, MAGNITUDE, 0.5),
    "sparsity_of": lambda d: prune.sparsity_of(halved(d.params), d.params),
    "prune.iterative": lambda d: prune.iterative(
        d.params, MAGNITUDE, [0.5], train=lambda params, masks, turn: params
    ),
    "prune.sensitivity": lambda d: prune.sensitivity(
        model, d.params, loss, d.batches, MAGNITUDE, [0.5]
    ),
    "woodfisher": lambda d: prune.woodfisher(
        model, d.params, loss, d.batches, 0.5, fisher=prune.FisherBlocks(damping=1.0)
    ),
    "check": lambda d: prune.check(prune.hold(optax.sgd(0.1), halved(d.params)).init(d.params)),
    "snip": lambda d: criteria.snip(model, d.params, loss, d.batches),
    "grasp": lambda d: criteria.grasp(model, d.params, loss, d.batches),
    "synflow": lambda d: criteria.synflow(model, d.params, d.x, target=0.5, rounds=2),
    "wanda": lambda d: criteria.wanda(model, d.params, [d.x]),
    "run": functools.partial(run, lambda d: DYNAMIC),
    "run, static": functools.partial(run, lambda d: quantize.execution.static(calibrated(d))),
    "calibrate": calibrated,
    "smooth": lambda d: quantize.equivalent.smooth(
        rectified, d.params, [d.x], INT8, DYNAMIC, strengths=(0.5,)
    ),
    "activation_aware": lambda d: quantize.equivalent.activation_aware(
        rectified, d.params, [d.x], INT8, strengths=(0.5,)
    ),
    "fold_norms": lambda d: quantize.equivalent.fold_norms(rectified, d.params, d.x),
    "correct_biases": lambda d: quantize.equivalent.correct_biases(
        rectified, d.params, quantized(d), [d.x]
    ),
    "equalize": lambda d: quantize.equivalent.equalize(rectified, d.params, d.x, sweeps=2),
    "post_training": lambda d: quantize.post_training(model, d.params, [d.x], INT8),
    "rotate": lambda d: quantize.equivalent.rotate(linear, d.params, d.x),
    "learn_rotations": lambda d: quantize.equivalent.learn_rotations(
        d.params,
        graph.symmetries.rotations(linear, d.params, d.x),
        [d.x],
        lambda params, x: jnp.sum(linear(params, x) ** 4),
        steps=1,
    ),
    "diagnose": lambda d: quantize.diagnose(model, d.params, quantized(d), [d.x]),
    "plan": lambda d: structure.plan(model, d.params, importance.magnitude(), d.x, cut=HALF),
    "structure.iterative": lambda d: structure.iterative(
        model,
        d.params,
        importance.magnitude(),
        d.x,
        cuts=[HALF],
        fine_tune=lambda fn, params, turn: params,
    ),
    "remove_blocks": lambda d: structure.remove_blocks(
        deep, d.deep, importance.exact_blocks(loss, d.batches), d.x, count=1
    ),
    "remove_layers": lambda d: structure.remove_layers(
        deep, d.deep, importance.exact_layers(loss, d.batches), d.x, count=1
    ),
    "factorize": lambda d: structure.factorize(d.params, rank=ranks.energy(0.9)),
    "cka": lambda d: distill.features.cka([(d.x, 2 * d.x)]),
    "evaluate": lambda d: v.evaluate(model, d.params, d.x, d.labels),
    "evaluate by a loss": lambda d: v.evaluate(model, d.params, d.x, d.x, [v.metrics.loss(loss)]),
    "predict": lambda d: v.predict(model, d.params, d.x),
    "auto.sensitivity": lambda d: jc.auto.sensitivity(
        model, d.params, INT8, v.Examples(d.x, d.labels)
    ),
    "auto.second_order": lambda d: jc.auto.predicted_sensitivity(
        jc.auto.second_order(model, d.params, loss, d.batches, jax.random.key(0), probes=2),
        d.params,
        INT8,
    ),
    "auto.linearity": lambda d: jc.auto.linearity(
        model, d.params, [d.x], jax.random.key(0), sizes=(0.1, 0.2)
    ),
    "recalibrate": lambda d: jc.recalibrate(train, d.params, [(d.x,)], key=jax.random.key(0)),
    "check_disjoint": lambda d: v.check_disjoint(a=d.params["in"][:2], b=d.params["in"][2:]),
    "mean_interval": lambda d: v.mean_interval(d.params["bias"]),
    "bootstrap_interval": lambda d: v.bootstrap_interval(d.params["bias"]),
    "save": saved,
    "size": lambda d: storage.size(quantized(d)),
    "check_skips": lambda d: jc.optimizers.check_skips(
        stepped(jc.optimizers.skip_nonfinite(optax.sgd(0.1)), d.params)[1]
    ),
    "read": lambda d: jc.optimizers.read(
        stepped(jc.optimizers.monitor(optax.sgd(0.1)), d.params)[1]
    ),
}
EAGER |= {
    f"reconstruct by {name}": functools.partial(reconstructed, solver)
    for name, solver in {
        "sparsegpt": prune.solvers.sparsegpt(),
        "surgeon": prune.solvers.optimal_brain_surgeon(),
        "refitted": prune.solvers.refitted(prune.solvers.least_squares()),
    }.items()
}
EAGER |= {f"remove by {name}": functools.partial(removed, row) for name, row in IMPORTANCE.items()}
TRANSFORMATIONS = {
    "prune": lambda d: prune.prune(optax.sgd(0.1), MAGNITUDE, 0.5, when=SOON),
    "hold": lambda d: prune.hold(optax.sgd(0.1), halved(d.params)),
    "regrow": lambda d: prune.regrow(
        optax.sgd(0.1), criteria.gradient_momentum(0.9), halved(d.params), when=SOON
    ),
    "proximal_l1": lambda d: prune.penalties.proximal_l1(0.1, 0.1),
    "proximal_trimmed": lambda d: prune.penalties.proximal_trimmed(
        0.1, 0.1, prune.views.by_magnitude(0.5)
    ),
    "proximal_group_lasso": lambda d: structure.penalties.proximal_group_lasso(0.1, 0.1),
}


def learned(loss, student, teacher):
    return loss.loss(loss.init(jax.random.key(0), student, teacher), student, teacher)


def contrasted(d):
    crd = distill.relations.contrastive(width=2, negatives=3)
    parameters, bank = crd.init(jax.random.key(0), d.x, d.x), crd.bank(jax.random.key(1), 9)
    return crd.loss(parameters, d.x, d.x, bank, d.labels, jax.random.key(2))


FORMATS = {
    name: getattr(quantize.formats, name)()
    for name in ("binary", "int2", "int8", "uint8", "nf4", "fp4", "fp8_e5m2", "ternary")
} | {"groups": quantize.int4(group_size=2), "powers": quantize.formats.power_of_two(4)}
TRACED: dict[str, Row] = {
    "apply": lambda d: prune.apply(halved(d.params), d.params),
    "surgery": lambda d: prune.views.surgery(halved(d.params), d.params, deviations=0.0),
    "straight_through": functools.partial(
        seen, prune.views.straight_through(prune.views.by_magnitude(0.5))
    ),
    "sr_ste": functools.partial(seen, prune.views.sr_ste(prune.views.by_magnitude(0.5))),
    "shuffled": lambda d: prune.lottery.shuffled(d.params, jax.random.key(0)),
    "fake_quantize_model": lambda d: jax.grad(
        lambda params: jnp.sum(quantize.fake_quantize_model(model, INT8, DYNAMIC)(params, d.x))
    )(d.params),
    "fake_quantize_activations": lambda d: quantize.fake_quantize_activations(model, DYNAMIC)(
        d.params, d.x
    ),
    "low_precision": lambda d: low_precision_gradients(d, quantize.training.precision()),
    "low_precision in fp8": lambda d: low_precision_gradients(
        d,
        quantize.training.precision(
            quantize.formats.fp8_e4m3(per="tensor"),
            quantize.formats.fp8_e5m2(per="tensor"),
            scaling=quantize.training.delayed_scaling(2),
        ),
    ),
    "quantized_gradients": lambda d: jax.grad(
        lambda params: jnp.sum(
            quantize.training.quantized_gradients(model, 4)(
                params, d.x, step=jc.Step(0, jax.random.key(0))
            )
        )
    )(d.params),
    "outliers": lambda d: quantize.fake_quantize_activations(
        model, quantize.execution.outliers(DYNAMIC, quantize.execution.largest(1))
    )(d.params, d.x),
    "materialized": lambda d: jc.materialized(model)(quantized(d), d.x),
    "observe": lambda d: graph.observe(model, MIN_MAX)(d.params, d.x),
    "agreement": lambda d: v.agreement(d.x, d.x),
    "correct": lambda d: v.correct(d.x, d.labels),
    "cross_entropy": lambda d: v.cross_entropy(d.x, d.labels),
    "hard_targets": lambda d: distill.outputs.hard_targets(d.x, d.labels, ignore=0),
    "soft_targets": lambda d: distill.outputs.soft_targets(d.x, d.x, temperature=2.0),
    "projected": lambda d: learned(distill.features.projected(), d.x, d.x[:, :3]),
    "variational_information": lambda d: learned(
        distill.features.variational_information(), d.x, d.x[:, :3]
    ),
    "factor_transfer": lambda d: learned(distill.features.factor_transfer(), d.x, d.x[:, :3]),
    "review": lambda d: learned(
        distill.features.review(width=2), *[[d.x.reshape(6, 2, 2, 1), d.x.reshape(6, 1, 2, 2)]] * 2
    ),
    "contrastive": contrasted,
    "mix": lambda d: distill.mix(d.x[:, 0], d.x[:, 1], weight=0.5),
    "int8_matmul": lambda d: kernels.int8_matmul(d.x.astype(np.int8), d.x.astype(np.int8)),
    "two_digit_matmul": lambda d: kernels.two_digit_matmul(d.x, d.x.astype(np.int8)),
}
TRACED |= {
    loss.__name__: lambda d, loss=loss: loss(d.x.reshape(6, 2, 2), 2 * d.x.reshape(6, 2, 2))
    for loss in (
        distill.features.squared_error,
        distill.features.cosine_distance,
        distill.features.attention_transfer,
        distill.features.hierarchical_context,
        distill.features.attention_maps,
        distill.features.token_relations,
        distill.features.cka_distance,
        distill.relations.relative_distances,
        distill.relations.relative_angles,
        distill.relations.similarity_preserving,
        distill.relations.correlation_congruence,
        distill.relations.probabilistic_transfer,
    )
}


def flipped(loss):
    """A loss of outputs and its gradient, with the student's for the teacher's."""
    return lambda d: jax.value_and_grad(lambda x: jnp.sum(loss(x, x[::-1])))(d.x)


TEMPERED = (
    "alpha_divergence",
    "inter_class_relation",
    "intra_class_relation",
    "jensen_shannon",
    "mask_targets",
    "multi_label_targets",
    "reverse_kl",
    "skewed_kl",
    "skewed_reverse_kl",
    "soft_dice",
    "standardized_targets",
    "transformed_targets",
)
PLAIN = ("box_overlap", "huber_distance", "squared_distance")


def outputs_of(name: str, **options) -> Any:
    return functools.partial(getattr(distill.outputs, name), **options)


def sampled(student, teacher):
    drawn = distill.outputs.draws(teacher, 3, jax.random.key(0), proposal_temperature=2.0)
    return distill.outputs.sampled_targets(student, drawn)


def of_likeliest(student, teacher):
    return distill.outputs.top_k_targets(student, distill.outputs.top_k(teacher, 2))


def generated(d, sample):
    """Of tokens that are integers of any width, with a model without a cache."""
    sequences = distill.sequences
    decoder, empty = sequences.uncached(lambda params, tokens: params["in"].T[tokens], room=6)
    start = decoder(d.params, d.labels[:, None].astype(np.int64), empty(6))
    return sequences.generate(decoder, d.params, start, steps=2, sample=sample, end=1)


def policy(student, teacher):
    tokens, counts = jnp.zeros(len(student), int), jnp.ones(len(student), bool)
    drawn_with = jnp.zeros(len(student))
    return distill.sequences.reverse_kl_policy(student, teacher, tokens, counts, drawn_with)


def shared_losses(params):
    return jnp.stack([jnp.sum(params["in"]), jnp.sum(params["in"] ** 2)])


def rebalanced(d):
    balance = distill.weighting.balanced([1, 2], alpha=0.5)
    return balance.update(
        *distill.weighting.gradient_norms(shared_losses, d.params), balance.init()
    )


KEY = jax.random.key(0)
TRACED |= {
    name: flipped(outputs_of(name, temperature=jnp.asarray(2.0, jnp.bfloat16))) for name in TEMPERED
}
TRACED |= {name: flipped(outputs_of(name)) for name in PLAIN}
TRACED |= {
    "bounded_distance": flipped(lambda x, y: distill.outputs.bounded_distance(x, y, y + 1)),
    "draws": flipped(sampled),
    "top_k": flipped(of_likeliest),
    "decoupled_targets": lambda d: distill.outputs.decoupled_targets(d.x, d.x, d.labels, ignore=0),
    "smoothed_labels": lambda d: distill.outputs.smoothed_labels(d.x, d.labels, ignore=0),
    "mix, traced": lambda d: distill.mix(d.x[0], d.x[1], weight=jnp.asarray(d.labels[1], float)),
    "mixture": flipped(lambda x, y: distill.ensembles.mixture(jnp.stack([x, y]), [0.5, 0.5])),
    "mixed": lambda d: distill.ensembles.mixed([model, linear], [0.5, 0.5])([d.params] * 2, d.x),
    "cascade": lambda d: distill.ensembles.cascade(
        (model, linear), 0.9, capacity=2, confidence=distill.ensembles.margin
    )([d.params] * 2, d.x),
    "average": lambda d: distill.ensembles.average([d.params, d.params]),
    "generate": functools.partial(generated, sample=None),
    "generate, drawn": lambda d: generated(d, distill.sequences.at_temperature(KEY, jnp.ones(()))),
    "generate, top": lambda d: generated(d, distill.sequences.among_top(KEY, 2, np.float64(0.5))),
    "over_tokens": flipped(lambda x, y: distill.sequences.over_tokens(x, y > 0)),
    "student_share": lambda d: distill.sequences.student_share(KEY, d.x, d.x, share=0.5),
    "mixed_logits": flipped(functools.partial(distill.sequences.mixed_logits, share=0.5)),
    "reverse_kl_policy": flipped(policy),
    "statistics_distance": flipped(
        lambda x, y: distill.synthesis.statistics_distance({"a": x}, {"a": (y[0], y[1])})
    ),
    "total_variation": lambda d: distill.synthesis.total_variation(d.x.reshape(6, 2, 2, 1)),
    "balanced": rebalanced,
    "from_layers": lambda d: distill.students.from_layers(
        d.deep, [0, 2], select=jc.matching("layers")
    ),
}
TRANSFORMATIONS |= {
    "clip_weights": lambda d: jc.optimizers.clip_weights(-0.5, 0.5),
    "max_norm": lambda d: jc.optimizers.max_norm(0.5),
}
TRACED |= {
    name: lambda d, make=make: stepped(make(d), d.params) for name, make in TRANSFORMATIONS.items()
}
TRACED |= {
    f"optimizer {case.name}": lambda d, case=case: stepped(case(0.1), d.params)
    for case in OPTIMIZERS
}
TRACED |= {
    f"adapters {name}, {held}": functools.partial(adapted, method, base)
    for name, method in {"lora": adapt.lora, "dora": adapt.dora}.items()
    for held, base in {"floats": lambda d: d.params, "codes": quantized}.items()
}
TRACED |= {
    f"companion {name}": functools.partial(companion, case.technique)
    for name, case in COMPANIONS.items()
}
TRACED |= {
    f"criterion {name}": functools.partial(scored, row)
    for name, row in CRITERIA.items()
    if name != "wanda"
}
TRACED |= {
    f"pattern {name}": functools.partial(patterned, row.pattern) for name, row in PATTERNS.items()
}
TRACED |= {
    f"allocation {name}": functools.partial(allocated, row) for name, row in ALLOCATIONS.items()
}
TRACED |= {
    f"quantize {name}": lambda d, spec=spec: jc.materialize(quantized(d, spec))
    for name, spec in FORMATS.items()
}
TRACED |= {
    f"quantize by {name}": lambda d, row=row: jc.materialize(
        quantize.quantize(d.params, INT8, rounding=row.make())[0]
    )
    for name, row in ROUNDINGS.items()
    if name != "sign_round, swept"
}


def in_parts(rounding: quantize.rounding.Rounding, d: Data):
    """Rounded, and run on rounded data."""
    params = quantize.quantize(d.params, INT8, rounding=rounding)[0]
    return quantize.fake_quantize_activations(model, DYNAMIC)(params, d.x)


TRACED |= {
    "quantize by low_rank": functools.partial(in_parts, quantize.rounding.low_rank(rank=2)),
    "quantize by rotated": functools.partial(in_parts, quantize.rounding.rotated()),
}
TRACED |= {
    f"fake_quantize {name}": functools.partial(seen, quantize.fake_quantize(spec))
    for name, spec in FORMATS.items()
}
