"""Models whose data are rounded on ranges that are trained beside the weights."""

import re
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxcompress.core.checks import check_concrete, check_finite
from jaxcompress.core.companions import Companions, Step
from jaxcompress.core.flax_leaf import unwrapped
from jaxcompress.core.kinds import check_mapping
from jaxcompress.core.models import check_model
from jaxcompress.core.names import named_leaves
from jaxcompress.core.observers import Reading, counted
from jaxcompress.core.rotated import Rotated
from jaxcompress.core.rules import Rules, as_rules, check_rules
from jaxcompress.core.types import Array, Model, Params, PyTree
from jaxcompress.graph import Site, observe
from jaxcompress.graph.choice import choose
from jaxcompress.graph.interpret import Handler
from jaxcompress.graph.products import MARK
from jaxcompress.graph.program import Program, trace
from jaxcompress.graph.rewrite import run_program
from jaxcompress.quantize.execution.activations import Activations, static
from jaxcompress.quantize.execution.parts import UNROTATED, by_parts
from jaxcompress.quantize.training.data.method import (
    Learned,
    RangeMethod,
    Statistics,
    seen_rows,
    statistics,
)

CALLER = "learned_activations"
MADE_BY = "Make one with training.data.learned_step(spec) or another of training.data."


class SeenModel(Protocol):
    """From params, companions and inputs to outputs, at a step."""

    def __call__(
        self, params: Params, companions: Companions, *inputs: PyTree, step: Step = Step()
    ) -> PyTree:
        """Outputs of the same structure as the model's."""
        ...


class LearnedActivations(NamedTuple):
    """Ranges of data that are trained beside the weights: four pure functions.

    Attributes:
      init: (params, *inputs) -> companions, by the name of each site whose data are
        rounded; they start from the data of this batch. Not for traced arrays.
      model: (params, companions, *inputs, step=Step()) -> outputs of the model whose
        data are codes; differentiable in params, companions and inputs.
      freeze: companions -> `Activations`, or rules of them where methods were rules.
        What they stand for is bit for bit what the model sees. Not for traced ones.
      penalty: companions -> () float32, to be added to the loss.
    """

    init: Callable[..., Companions]
    model: SeenModel
    freeze: Callable[[Companions], Activations | Rules[Activations]]
    penalty: Callable[[Companions], Array]


def learned_activations(fn: Model, how: RangeMethod | Rules[RangeMethod]) -> LearnedActivations:
    """Trains the ranges of data beside the weights, for activations in few bits.

    Not for: data in 8 bits, for which ranges that `graph.calibrate` finds suffice
    without training.

    Also known as: learned step size quantization (LSQ, LSQ+), PACT, trainable
    activation ranges.

        companions = technique.init(params, *batch)
        loss of technique.model(params, companions, *inputs)
                + technique.penalty(companions)
        activations = technique.freeze(companions)

    A step of training differentiates and moves the pair (params, companions); ranges
    usually take a smaller learning rate than weights, or the same under Adam. In the
    end `fake_quantize_activations(fn, activations)` is bit for bit the trained model,
    and `plan_execution` takes activations of one method with symmetric codes. For
    weights in few bits pass what a view shows of the params.

    Each site has companions of its own. Layers of a scan share those of their site, as
    they share a range in `static`; their gradients add up, and they start from the data
    of all layers. Inside a custom derivative, whose rule stays that of the original
    program, companions have no gradient.

    Args:
      fn: fn(params, *inputs) -> outputs.
      how: a method for the data of every dot and convolution, or rules of methods over
        leaf names; other sites stay as they are, and so do gathers, ragged dots and
        data that are not floating. Rules for products, such as attention's two, begin
        with "@": the first operand is then the data.

    Returns:
      LearnedActivations. The model is traced again in each call: jit what calls it.

    Raises:
      TypeError: `fn` is no function, or `how` no method.
      ValueError: (when called) a rule matches no site; no data reached a site in
        `init`; companions are not those of the model's sites; a weight is `Rotated`; or
        companions to be frozen are not finite.

    Example:
      >>> fn = lambda params, x: jnp.tanh(x @ params["kernel"])
      >>> how = jc.quantize.training.data.learned_step(jc.quantize.int4())
      >>> technique = jc.quantize.training.learned_activations(fn, how)
      >>> params, x = {"kernel": jnp.eye(2)}, jnp.array([[0.3, -1.0]])
      >>> companions = technique.init(params, x)
      >>> sorted(companions["kernel"])
      ['step']
      >>> loss = lambda companions: technique.model(params, companions, x).sum()
      >>> bool(jax.grad(loss)(companions)["kernel"]["step"] != 0)
      True
      >>> technique.freeze(companions).spec.name
      'int4'

    Source: Esser et al. 2020, arXiv:1902.08153; Choi et al. 2018, arXiv:1805.06085.
    """
    check_model(CALLER, fn)
    check_rules(CALLER, "how", how, RangeMethod, MADE_BY)
    rules = as_rules(how)
    single = not isinstance(how, Rules)

    def init(params: Params, *inputs: PyTree) -> Companions:
        check_concrete(CALLER, "", params=params, inputs=inputs)
        chosen = _chosen(trace(fn, params, *inputs), rules)
        observed = observe(fn, rules.map(lambda _: counted(statistics())))
        found = jax.jit(lambda params, inputs: observed(params, *inputs)[1])(params, inputs)
        return {name: _begun(name, method, found[name]) for name, method in chosen.items()}

    def model(params: Params, companions: Companions, *inputs: PyTree, step: Step = Step()):
        del step
        program = trace(fn, params, *inputs)
        chosen = _chosen(program, rules)
        companions = _fitting(companions, chosen)
        handlers = {name: _handler(method) for name, method in chosen.items()}
        # As states, not closed over, they also reach what custom derivatives hold.
        states = {name: _stacked(program.places[name], companions[name]) for name in chosen}
        return run_program(program, params, inputs, states, handlers)[0]

    def freeze(companions: Companions) -> Activations | Rules[Activations]:
        check_concrete(CALLER, "", companions=companions)
        for name, leaf in named_leaves(unwrapped(companions)).items():
            check_finite(CALLER, name, leaf)
        companions = _fitting(companions, _methods(companions, rules))
        frozen = _frozen(companions, rules)
        return frozen.pairs[0][1] if single else frozen

    def penalty(companions: Companions) -> Array:
        methods = _methods(companions, rules)
        companions = _fitting(companions, methods)
        terms = (method.penalty(companions[name]) for name, method in methods.items())
        return sum(terms, start=jnp.zeros((), jnp.float32))

    return LearnedActivations(init, model, freeze, penalty)


def _chosen(program: Program, rules: Rules[RangeMethod]) -> dict[str, RangeMethod]:
    """The method of each site whose data are rounded, by site name."""
    chosen = choose(program, rules, lambda site: site.leaf, has_rows)
    if not chosen:
        raise ValueError(
            f"{CALLER}(fn=...): no weight meets floating data in a dot or convolution. Name "
            'products by rules: Rules({"@*": method}).'
        )
    return chosen


def has_rows(site: Site) -> bool:
    """Whether the data of a site are rows of real numbers, which can be rounded."""
    return site.observable and jnp.issubdtype(site.data_dtype, jnp.floating)


def _begun(name: str, method: RangeMethod, state: tuple[Any, ...]) -> Learned:
    """Where training starts at a site: from the statistics and count of its rows."""
    seen, count = Reading(*state)
    if not bool(jnp.any(count)):
        raise ValueError(
            f"{CALLER}(...).init: no data reached site {name!r}, or only zeros. Pass a batch that "
            "reaches it, or leave its leaf out by a rule."
        )
    # Those of layers in a scan are stacked, and share what is learned.
    layers = zip(*(jnp.ravel(each) for each in seen), strict=True)
    whole = reduce(statistics().merge, (Statistics(*layer) for layer in layers))
    begun = method.start(whole)
    if not all(bool(jnp.isfinite(each)) for each in begun.values()):
        raise ValueError(
            f"{CALLER}(...).init: the data at site {name!r} are not finite. Clean the batch, or "
            "begin with params that give finite data."
        )
    return begun


def _stacked(site: Site, learned: Learned) -> Learned:
    """What is learned at a site, once for each layer of a scan."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, site.stack), learned)


def _handler(method: RangeMethod) -> Handler:
    def handler(site: Site, apply: Callable[..., Any], data: Array, weight: Any, learned: Learned):
        if isinstance(weight, Rotated):
            raise ValueError(
                f"{CALLER}: the weight of site {site.name!r} is rotated, and {UNROTATED}, or leave "
                "its leaf out by a rule."
            )

        def rounded(site: Site, apply: Callable[..., Any], data: Array, weight: Any) -> Array:
            shown = seen_rows(site.rows(data), learned, method)
            # `rows` only moves entries about, so its transpose moves them back.
            (back,) = jax.linear_transpose(site.rows, data)(shown)
            return apply(back, weight)

        return by_parts(rounded)(site, apply, data, weight), learned

    return handler


def _leaf_of(name: str) -> str:
    """The name that rules go by: of a leaf's second site the leaf's."""
    return name if name.startswith(MARK) else re.sub(r"#\d+$", "", name)


def _methods(companions: Companions, rules: Rules[RangeMethod]) -> dict[str, RangeMethod]:
    """The method of each companion, by site name."""
    check_mapping(CALLER, "companions", companions, "Begin with init(params, *inputs).")
    leaves = {name: _leaf_of(name) for name in companions}
    weights = [name for name in leaves if not name.startswith(MARK)]
    found: dict[str, RangeMethod] = {}
    for names, pairs in (
        (weights, [pair for pair in rules.pairs if not pair[0].startswith(MARK)]),
        (leaves.keys() - weights, [pair for pair in rules.pairs if pair[0].startswith(MARK)]),
    ):
        known = Rules(pairs).assign(leaves[name] for name in names) if pairs and names else {}
        found |= {name: known[leaves[name]] for name in names if leaves[name] in known}
    return {name: found[name] for name in companions if name in found}


def _frozen(companions: Companions, rules: Rules[RangeMethod]) -> Rules[Activations]:
    methods = _methods(companions, rules)

    def activations(method: RangeMethod) -> Activations:
        own = [name for name, each in methods.items() if each is method]
        return static({name: method.range(companions[name]) for name in own}, method.spec)

    return rules.map(activations)


def _fitting(companions: Companions, methods: Mapping[str, RangeMethod]) -> Companions:
    """The companions as plain dicts; raises where they are not those of these sites."""
    check_mapping(CALLER, "companions", companions, "Begin with init(params, *inputs).")
    companions = dict(unwrapped(companions))
    if companions.keys() != methods.keys():
        raise ValueError(
            f"{CALLER}(companions=...) is of the sites {', '.join(companions) or 'none'}, and the "
            f"data are rounded at {', '.join(methods) or 'none'}. Begin with init(params, *inputs)."
        )
    blank = jax.eval_shape(lambda: Statistics(*[jnp.zeros((), jnp.float32)] * 4))
    for name, method in methods.items():
        own, expected = companions[name], sorted(jax.eval_shape(method.start, blank))
        fits = isinstance(own, Mapping) and sorted(own) == expected
        if not (fits and all(jnp.shape(each) == () for each in own.values())):
            raise ValueError(
                f"{CALLER}(companions=...): beside site {name!r} must stand {expected}, each of "
                f"shape (). Begin with init(params, *inputs)."
            )
    return {
        name: {part: jnp.asarray(each, jnp.float32) for part, each in companions[name].items()}
        for name in methods
    }
