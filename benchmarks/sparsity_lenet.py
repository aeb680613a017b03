"""How few weights the two LeNets need on MNIST, and which method finds them.

    python -m benchmarks.sparsity_lenet run [--nets LeNet-5] [--kept 0.01 --sparse 20]
    python -m benchmarks.sparsity_lenet show

Every method gets the same epochs, images and shifts. `magnitude`, `gradual`, `l0`,
`surgeon` and `woodfisher` spend the first of them on the dense model, the others never
see one. Every choice was made on validation images; the test images are opened once, at
the end of a run.

What others published: sparse momentum, Dettmers and Zettlemoyer 2019, arXiv:1907.04840;
SNIP, Lee et al. 2019, arXiv:1810.02340.
"""

import functools
import glob
import itertools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import lenets, runner
from jaxcompress.core.axes import Axes
from jaxcompress.core.types import Array, Key, Masks, Params
from jaxcompress.demo.data import Splits

p = jc.prune

DECAY = 1e-4
RAMP, EVERY = 0.5, 50
"""Gradual pruning: the share of steps that it takes, and steps between masks."""

DROPPED, MOVING, MOVED = 0.3, 0.75, 100
"""Sparse training: what goes at first, the share of steps with moves, steps between."""

MOVES = {"dropped": DROPPED, "moving": MOVING, "moved": MOVED}

LEARNING, GATE_RATE, PRICE_RATE = 0.5, 0.1, 0.02
"""L0: the share of epochs in which gates learn, and the rates of gates and price."""

GATES = {"learning": LEARNING, "gate_rate": GATE_RATE, "price_rate": PRICE_RATE}

SCORED = 1_024
"""Images that SNIP, WoodFisher and the Surgeon see."""


class Plan(NamedTuple):
    """How a net is trained.

    Attributes:
      kept: the shares of weights.
      dense: epochs of the dense model.
      sparse: epochs after it; without a dense model, both.
      dense_rate: where the cosine of the learning rate begins, dense.
      sparse_rate: the same, sparse.
      batch_size: images per step.
      border: how many pixels an image may be shifted each way.
    """

    kept: tuple[float, ...]
    dense: int
    sparse: int
    dense_rate: float
    sparse_rate: float
    batch_size: int
    border: int


PLANS = {
    "LeNet-300-100": Plan((0.05, 0.02, 0.01), 5, 15, 3e-3, 5e-3, 256, border=1),
    "LeNet-5": Plan((0.02, 0.01, 0.005), 2, 5, 2e-3, 3e-3, 64, border=1),
}

PUBLISHED = {
    "LeNet-300-100": {"sparse momentum": [(0.05, 0.0153), (0.02, 0.0199)], "SNIP": [(0.02, 0.024)]},
    "LeNet-5": {"sparse momentum": [(0.01, 0.0083), (0.005, 0.0114)], "SNIP": [(0.01, 0.011)]},
}


class Run(NamedTuple):
    """What one run is made of.

    Attributes:
      net: the model.
      plan: its training.
      parts: images.
      axes: of the params.
      kept: the share of weights in the end.
      seed: of weights, images and shifts.
    """

    net: lenets.Net
    plan: Plan
    parts: Splits
    axes: Axes
    kept: float
    seed: int

    def steps(self, epochs: int) -> int:
        return epochs * (len(self.parts.train) // self.plan.batch_size)


class Begun(NamedTuple):
    """Where the training of a sparse model begins.

    Attributes:
      params: of a model that may be sparse already.
      optimizer: leaves it sparse at the end.
      epochs: that are left.
    """

    params: Params
    optimizer: optax.GradientTransformation
    epochs: int


def held(run: Run, params: Params, masks: Masks, epochs: int) -> Begun:
    """What the masks keep trains on."""
    optimizer = p.hold(adamw(run.plan.sparse_rate, run.steps(epochs)), masks)
    return Begun(p.apply(masks, params), optimizer, epochs)


def magnitude(run: Run, start: Params, epochs: int) -> Begun:
    """The smallest weights of the dense model go at once, the rest train on."""
    return held(run, start, smallest_gone(run, start), epochs)


def smallest_gone(run: Run, params: Params) -> Masks:
    """The masks by magnitude, layers compared by `lamp`."""
    return p.masks(
        params,
        p.criteria.magnitude(),
        p.Target(1 - run.kept, allocate=p.allocations.lamp, axes=run.axes),
    )


def gradual(run: Run, start: Params, epochs: int) -> Begun:
    """The smallest weights of the dense model go bit by bit while it trains."""
    steps = run.steps(epochs)
    end = int(RAMP * steps)
    optimizer = p.prune(
        adamw(run.plan.sparse_rate, steps),
        p.criteria.magnitude(),
        p.Target(
            jc.schedules.cubic(0.0, 1 - run.kept, begin=0, end=end),
            allocate=p.allocations.lamp,
            axes=run.axes,
        ),
        when=jc.schedules.every(EVERY, end=end),
    )
    return Begun(start, optimizer, epochs)


def woodfisher(run: Run, start: Params, epochs: int) -> Begun:
    """What the loss of the dense model misses least goes at once, the rest makes up."""
    seen = run.parts.train[:SCORED]
    pruned, _ = p.woodfisher(
        run.net.fn,
        start,
        jc.distill.outputs.hard_targets,
        [(seen.images, seen.labels)],
        p.Target(1 - run.kept, allocate=p.allocations.globally, axes=run.axes),
    )
    return held(run, pruned, living(pruned), epochs)


def living(params: Params) -> Masks:
    """The masks of the weights that are not 0."""
    return jax.tree.map(lambda leaf: leaf != 0 if leaf.ndim > 1 else jnp.ones((), bool), params)


def surgeon(run: Run, start: Params, epochs: int) -> Begun:
    """What a layer's outputs miss least goes at once, as many as by magnitude."""
    gone = p.sparsity_of(smallest_gone(run, start), start).leaves
    pruned, _ = p.reconstruct(
        run.net.fn,
        start,
        [run.parts.train.images[:SCORED]],
        p.solvers.optimal_brain_surgeon(),
        jc.Rules({glob.escape(name): share for name, share in gone.items() if share}),
    )
    return held(run, pruned, living(pruned), epochs)


def l0(run: Run, start: Params, epochs: int) -> Begun:
    """Gates of the dense model learn to close under a price that says how many."""
    learning = int(LEARNING * epochs)
    technique = p.companions.l0_gates()
    gates = technique.init(start)
    weights = sum(gate.size for gate in gates.values())

    def objective(tree: Params, x: Array, labels: Array, key: Key) -> Array:
        seen = technique.view(tree["params"], tree["gates"], jc.Step(key=key))
        share = technique.penalty(tree["params"], tree["gates"]) / weights
        loss = jc.distill.outputs.hard_targets(run.net.fn(seen, x), labels).mean()
        return loss + tree["price"] * jnp.log(share / run.kept)

    optimizer = optax.partition(
        {
            "params": adamw(run.plan.sparse_rate, run.steps(learning)),
            "gates": optax.adam(GATE_RATE),
            # It rises while too many gates are open, and falls where too few are.
            "price": optax.chain(optax.sgd(-PRICE_RATE), optax.keep_params_nonnegative()),
        },
        {"params": "params", "gates": "gates", "price": "price"},
    )
    tree = {"params": start, "gates": gates, "price": jnp.zeros(())}
    tree, _ = trained(run, objective, tree, optimizer, learning)
    masks = p.masks(
        start,
        p.criteria.constant(tree["gates"]),
        p.Target(1 - run.kept, allocate=p.allocations.globally, axes=run.axes),
    )
    return held(run, technique.freeze(tree["params"], tree["gates"]), masks, epochs - learning)


def rigl(run: Run, start: Params, epochs: int) -> Begun:
    """Random weights at first; then those with large gradients replace the least."""
    return moving(run, start, epochs, p.criteria.gradient_momentum(0.0), p.shares.as_dropped)


def sparse_momentum(run: Run, start: Params, epochs: int) -> Begun:
    """The same by momentum, and layers get as many as their mean momentum is worth."""
    return moving(run, start, epochs, p.criteria.gradient_momentum(0.9), p.shares.by_mean_score)


def moving(
    run: Run, start: Params, epochs: int, growth: p.criteria.Criterion, share: p.shares.Share
) -> Begun:
    """Sparse from the start: the smallest weights go now and then, and others come."""
    masks = p.masks(
        start,
        p.criteria.random(jax.random.key(run.seed)),
        p.Target(1 - run.kept, allocate=p.allocations.erk, axes=run.axes),
    )
    steps = run.steps(epochs)
    end = int(MOVING * steps)
    optimizer = p.regrow(
        adamw(run.plan.sparse_rate, steps),
        p.Growth(growth, optax.cosine_decay_schedule(DROPPED, end), share),
        masks,
        axes=run.axes,
        when=jc.schedules.every(MOVED, begin=MOVED, end=end),
    )
    return Begun(p.apply(masks, start), optimizer, epochs)


def snip(run: Run, start: Params, epochs: int) -> Begun:
    """The weights on which the first loss hangs least go before training."""
    seen = run.parts.train[:SCORED]
    criterion = p.criteria.snip(
        run.net.fn, start, jc.distill.outputs.hard_targets, [(seen.images, seen.labels)]
    )
    masks = p.masks(
        start, criterion, p.Target(1 - run.kept, allocate=p.allocations.globally, axes=run.axes)
    )
    return held(run, start, masks, epochs)


class Method(NamedTuple):
    """A way to a sparse model.

    Attributes:
      begin: (run, params, epochs) to where sparse training begins and how.
      from_dense: whether the params are those of the dense model, or the first ones.
      settings: what its figures depend on beside the plan.
    """

    begin: Callable[[Run, Params, int], Begun]
    from_dense: bool
    settings: dict[str, Any]


METHODS = {
    "gradual": Method(gradual, True, {"ramp": RAMP, "every": EVERY}),
    "magnitude": Method(magnitude, True, {}),
    "woodfisher": Method(woodfisher, True, {"scored": SCORED}),
    "surgeon": Method(surgeon, True, {"scored": SCORED}),
    "l0": Method(l0, True, GATES),
    "rigl": Method(rigl, False, MOVES),
    "sparse momentum": Method(sparse_momentum, False, MOVES),
    "snip": Method(snip, False, {"scored": SCORED}),
}


def adamw(rate: float, steps: int) -> optax.GradientTransformation:
    """Adam with decay of weights, on a cosine after a short rise."""
    return optax.adamw(
        optax.warmup_cosine_decay_schedule(0.0, rate, steps // 20, steps),
        weight_decay=DECAY,
        mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree),
    )


def trained(
    run: Run,
    objective: lenets.Objective,
    params: Params,
    optimizer: optax.GradientTransformation,
    epochs: int,
):
    """The params and the optimizer's state, on the run's images."""
    return lenets.trained(
        objective,
        params,
        optimizer,
        run.parts.train,
        epochs=epochs,
        batch_size=run.plan.batch_size,
        border=run.plan.border,
        seed=run.seed,
    )


def errors(run: Run, params: Params) -> dict[str, float]:
    """The shares of wrong answers."""
    return {
        "validation": lenets.error(run.net.fn, params, run.parts.validation),
        "test": lenets.error(run.net.fn, params, run.parts.test),
    }


def plan(net: str, sparse: int | None) -> Plan:
    """The plan of a net, with other sparse epochs than planned if they are given."""
    return PLANS[net] if sparse is None else PLANS[net]._replace(sparse=sparse)


@functools.lru_cache(maxsize=3)
def prepared(data: pathlib.Path, net: str, seed: int) -> Run:
    """The run of a net and a seed that keeps everything."""
    model, parts = lenets.NETS[net], lenets.splits(data, seed)
    axes = jc.graph.axes(model.fn, model.initial(seed), parts.train.images[:1])
    return Run(model, PLANS[net], parts, axes, 1.0, seed)


@functools.lru_cache(maxsize=3)
def dense(data: pathlib.Path, net: str, seed: int) -> Params:
    """The dense model, with which magnitudes begin."""
    run = prepared(data, net, seed)
    optimizer = adamw(run.plan.dense_rate, run.steps(run.plan.dense))
    objective = lenets.cross_entropy(run.net.fn)
    return trained(run, objective, run.net.initial(seed), optimizer, run.plan.dense)[0]


def measure_dense(data: pathlib.Path, net: str, seed: int) -> dict[str, Any]:
    """The figures of a dense model."""
    return errors(prepared(data, net, seed), dense(data, net, seed))


def measure(
    data: pathlib.Path, net: str, seed: int, *, method: Method, kept: float, sparse: int | None
) -> dict[str, Any]:
    """The figures of one sparse run."""
    run = prepared(data, net, seed)
    run = run._replace(plan=plan(net, sparse), kept=kept)
    if method.from_dense:
        params, epochs = dense(data, net, seed), run.plan.sparse
    else:
        params, epochs = run.net.initial(seed), run.plan.dense + run.plan.sparse
    params, optimizer, epochs = method.begin(run, params, epochs)
    objective = lenets.cross_entropy(run.net.fn)
    params, opt_state = trained(run, objective, params, optimizer, epochs)
    p.check(opt_state)
    return errors(run, params) | {"left": lenets.left(p.masks_of(opt_state))}


def run(options) -> None:
    """Every run that has no record yet."""
    for net in options.nets:
        for seed in options.seeds:
            work = functools.partial(measure_dense, options.data, net, seed)
            recorded(options, settings(net, "dense", 1.0), seed, work)
        for name in options.methods:
            for kept in options.kept or PLANS[net].kept:
                for seed in options.seeds:
                    work = functools.partial(
                        measure,
                        options.data,
                        net,
                        seed,
                        method=METHODS[name],
                        kept=kept,
                        sparse=options.sparse,
                    )
                    recorded(options, settings(net, name, kept, options.sparse), seed, work)


def recorded(options, known: dict[str, Any], seed: int, work: Callable) -> None:
    """One run, from the file or anew."""
    record = runner.record("sparsity_lenet", work, settings=known, seed=seed, out=options.out)
    error = record["figures"]["validation"]
    print(known["net"], known["method"], known["kept"], seed, f"validation {error:.2%}", flush=True)


def settings(net: str, method: str, kept: float, sparse: int | None = None) -> dict[str, Any]:
    """All that one run depends on but the seed."""
    training = {
        name: value for name, value in plan(net, sparse)._asdict().items() if name != "kept"
    }
    own = METHODS[method].settings if method in METHODS else {}
    known = {"net": net, "method": method, "kept": kept, "weight_decay": DECAY}
    return training | known | own


def show(options) -> None:
    """The table and the picture of all runs."""
    records = runner.read(options.out / "sparsity_lenet.json")
    panels = []
    for net in options.nets:
        dense = found(records, settings(net, "dense", 1.0))
        print(f"{net} dense: {told(dense)}")
        series = {}
        lengths = sorted(
            {each["settings"]["sparse"] for each in records if each["settings"]["net"] == net}
        )
        for name, length in itertools.product(options.methods, lengths):
            tests = {
                kept: found(records, settings(net, name, kept, length)) for kept in PLANS[net].kept
            }
            tests = {kept: errors for kept, errors in tests.items() if len(errors) == len(dense)}
            label = name if length == PLANS[net].sparse else f"{name}, {length} sparse epochs"
            for kept, errors in tests.items():
                print(f"{net} {label}, {kept:.1%} kept: {told(errors)}")
            if tests:
                series[label] = list(tests), np.transpose(list(tests.values()))
        panels.append(lenets.Panel(net, series, PUBLISHED[net], float(np.mean(dense))))
    lenets.picture(options.out / "sparsity_lenet.png", panels)


def found(records: list[dict[str, Any]], known: dict[str, Any]) -> list[float]:
    """The test errors of a setting, by seed."""
    text = runner.json_text(known)
    return [
        record["figures"]["test"]
        for record in sorted(records, key=lambda record: record["seed"])
        if runner.json_text(record["settings"]) == text
    ]


def told(errors: list[float]) -> str:
    """Mean and standard error."""
    summary = runner.summary(errors)
    return f"test error {summary.mean:.2%} ± {summary.standard_error:.2%} ({summary.count} seeds)"


def main() -> None:
    """One of the two commands."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    commands = {"run": run, "show": show}
    parser.add_argument("command", choices=commands)
    parser.add_argument("--nets", nargs="+", choices=PLANS, default=list(PLANS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--kept", type=float, nargs="+", help="only these shares")
    parser.add_argument("--sparse", type=int, help="other sparse epochs than planned")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(3))
    options = parser.parse_args()
    commands[options.command](options)


if __name__ == "__main__":
    main()
