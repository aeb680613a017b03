"""Rebuilds calls, loops and branches around a body that runs differently.

Each by its public form, with the parameters of the equation. Values may be compressed
leaves: they pass as the trees they are. The states of handled sites go in and come out
beside the values; one that is `Awaited` only comes out.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcompress.core.leaf import is_compressed, materialize
from jaxcompress.core.sharding import gathered, placed
from jaxcompress.graph.jaxprs import as_function, manual, scan_loop, variables
from jaxcompress.graph.primitives import INLINE_CALLS
from jaxcompress.graph.steps import Block, Step

States = dict[str, Any]
"""State by site name."""


class Awaited(NamedTuple):
    """The state of a site that gives a value and takes none.

    It holds no array, so that nothing is carried in: loops and devices stack what comes
    out along a leading axis, a branch that was not taken gives zeros.
    """


Run = Callable[[Block, Any, States], tuple[list, States]]
"""(block, values, states) -> (results, states)."""


def rebuild(step: Step, operands: list[Any], states: States, run: Run) -> tuple[list[Any], States]:
    """Runs an equation that holds handled sites, with `run` for what is inside it."""
    inside = {name: state for name, state in states.items() if name in step.places}
    results, inside = _FORMS[step.eqn.primitive.name](step, operands, inside, run)
    return list(results), {**states, **inside}


def _inline(step: Step, operands: list[Any], states: States, run: Run):
    return run(step.blocks[0], operands, states)


def _jit(step: Step, operands: list[Any], states: States, run: Run):
    params = step.eqn.params

    def call(operands, states):
        return run(step.blocks[0], operands, states)

    # Profiles and the compiled program show a call by its name.
    call.__name__ = call.__qualname__ = params["name"]
    rebuilt = jax.jit(
        call,
        in_shardings=_shardings(params["in_shardings"]),
        out_shardings=_shardings(params["out_shardings"]),
        keep_unused=params["keep_unused"],
    )
    return rebuilt(operands, states)


def _shardings(shardings: tuple[Any, ...]):
    """The shardings of values and states; None where JAX is free to choose."""
    chosen = [each if isinstance(each, jax.sharding.Sharding) else None for each in shardings]
    return (chosen, None) if any(chosen) else None


def _remat(step: Step, operands: list[Any], states: States, run: Run):
    params = step.eqn.params
    call = partial(run, step.blocks[0])
    return jax.checkpoint(call, prevent_cse=params["prevent_cse"], policy=params["policy"])(
        operands, states
    )


def _scan(step: Step, operands: list[Any], states: States, run: Run):
    loop = scan_loop(step.eqn)
    first = loop.fixed + loop.carried
    jaxpr = step.blocks[0].jaxpr
    fixed = operands[: loop.fixed]
    carry = _carry(operands[loop.fixed : first], jaxpr, loop.fixed)
    slices = [_sliceable(value) for value in operands[first:]]
    apart = step.stacked | _awaited(states)
    carried = {name: state for name, state in states.items() if name not in apart}
    stacked = {name: state for name, state in states.items() if name in apart}

    # A site whose leaf is sliced has a state per layer, which comes and goes with the
    # layer's slices; any other site has one that is carried from turn to turn.
    def body(state, slices):
        carry, carried = state
        values, stacked = slices
        results, states = run(step.blocks[0], [*fixed, *carry, *values], {**carried, **stacked})
        stacked = {name: states.pop(name) for name in stacked}
        carry = _like(carry, results[: loop.carried])
        return (carry, states), (results[loop.carried :], stacked)

    options = {k: step.eqn.params[k] for k in _SCAN_OPTIONS if k in step.eqn.params}
    (carry, carried), (results, stacked) = jax.lax.scan(
        body, (carry, carried), (slices, stacked), **options
    )
    return [*carry, *results], {**carried, **stacked}


_SCAN_OPTIONS = ("length", "reverse", "unroll", "_split_transpose")


def _while(step: Step, operands: list[Any], states: States, run: Run):
    test, block = step.blocks
    begin = step.eqn.params["cond_nconsts"]
    first = begin + step.eqn.params["body_nconsts"]
    carry = _carry(operands[first:], block.jaxpr, first - begin)

    def condition(state):
        carry, states = state
        (result,), _ = run(test, [*operands[:begin], *carry], states)
        return result

    def body(state):
        carry, states = state
        results, states = run(block, [*operands[begin:first], *carry], states)
        return _like(carry, results), states

    return jax.lax.while_loop(condition, body, (carry, states))


def _cond(step: Step, operands: list[Any], states: States, run: Run):
    def branch(block: Block):
        def call(operands, states):
            results, states = run(block, operands, states)
            return materialize(results), states

        return call

    index, *operands = operands
    branches = [branch(block) for block in step.blocks]
    if awaited := _awaited(states):
        branches = _filled(branches, operands, states, awaited)
    return jax.lax.switch(index, branches, operands, states)


def _filled(
    branches: list[Callable[..., Any]], operands: list[Any], states: States, awaited: frozenset[str]
):
    """The branches, each with zeros for the values that only another one gives."""
    given: States = {}
    for branch in branches:
        values = jax.eval_shape(branch, operands, states)[1]
        given |= {name: values[name] for name in awaited - _awaited(values)}

    def filled(branch: Callable[..., Any]):
        def call(operands, states):
            results, values = branch(operands, states)
            # Of the same types: over which devices they differ, how they are sharded.
            zeros = {name: jax.tree.map(jnp.zeros_like, given[name]) for name in _awaited(values)}
            return results, values | zeros

        return call

    return [filled(branch) for branch in branches]


def _awaited(states: States) -> frozenset[str]:
    return frozenset(name for name, state in states.items() if isinstance(state, Awaited))


def _shard_map(step: Step, operands: list[Any], states: States, run: Run):
    """Every device keeps a state; all are equal, as readings gather the rows of all.

    Outside, states have a leading axis of devices: no type needs to know them equal.
    Values that were awaited differ from device to device and keep that axis.
    """
    params, within = step.eqn.params, manual(step.eqn)
    awaited = _awaited(states)

    def call(operands, states):
        results, states = run(step.blocks[0], operands, jax.tree.map(lambda x: x[0], states))
        return materialize(results), jax.tree.map(lambda x: x[None], states)

    each = PartitionSpec(within.axes)
    mapped = jax.shard_map(
        call,
        mesh=params["mesh"],
        in_specs=(list(params["in_specs"]), each),
        out_specs=(list(params["out_specs"]), each),
        axis_names=set(within.axes),
        check_vma=within.checked,
    )
    sharding = NamedSharding(params["mesh"], each)

    def on_each(x: jax.Array) -> jax.Array:
        stacked = jnp.stack([x] * within.devices)
        # Along explicit axes the type of what goes in must say how it is divided.
        explicit = AxisType.Explicit in jax.typeof(stacked).sharding.mesh.axis_types
        return placed(stacked, sharding) if explicit else stacked

    spread = jax.tree.map(on_each, states)
    results, states = mapped(materialize(operands), spread)
    own = {name: states[name] for name in states.keys() - awaited}
    first = jax.tree.map(lambda x: gathered(x)[0], own)
    return results, {**states, **first}


def _custom_jvp(step: Step, operands: list[Any], states: States, run: Run):
    @jax.custom_jvp
    def call(operands, states):
        return run(step.blocks[0], operands, states)

    @call.defjvp
    def derivative(primals, tangents):
        _, tangents = jax.jvp(_original(step), primals, tangents)
        return call(*primals), tangents

    return call(operands, states)


def _custom_vjp(step: Step, operands: list[Any], states: States, run: Run):
    @jax.custom_vjp
    def call(operands, states):
        return run(step.blocks[0], operands, states)

    def forward(*primals):
        # Through `call` itself; else its second derivative is that of the body.
        return call(*primals), primals

    def backward(primals, cotangents):
        return jax.vjp(_original(step), *primals)[1](cotangents)

    call.defvjp(forward, backward)
    return call(operands, states)


def _original(step: Step) -> Callable[..., Any]:
    """The equation as it was, with its own derivative; readings have none."""
    invars = variables(step.eqn.invars)
    positions = [step.eqn.invars.index(variable) for variable in invars]
    debug_info = step.blocks[0].jaxpr.debug_info
    function = as_function([step.eqn], invars, step.eqn.outvars, debug_info)

    def call(operands, states):
        values = materialize(operands)
        return function(*(values[i] for i in positions)), jax.lax.stop_gradient(states)

    return call


def _carry(values: list[Any], body: Jaxpr, first: int) -> list[Any]:
    """The initial carry; a leaf stays compressed if the body hands it on as it is.

    A carry has one structure from turn to turn. What a body changes comes back as an
    array, so that it must go in as one.
    """
    ends = zip(values, body.invars[first:], body.outvars, strict=False)
    return [value if inside is result else materialize(value) for value, inside, result in ends]


def _like(carry: list[Any], results: list[Any]) -> list[Any]:
    """The results with arrays where the carry holds arrays."""
    return [
        result if is_compressed(value) else materialize(result)
        for value, result in zip(carry, results, strict=True)
    ]


def _sliceable(value):
    """The value as a scan slices it: compressed if its arrays lead with its axis."""
    return materialize(value) if is_compressed(value) and not value.stacked else value


_FORMS = {
    **dict.fromkeys(INLINE_CALLS, _inline),
    "jit": _jit,
    "checkpoint": _remat,
    "remat2": _remat,
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "shard_map": _shard_map,
    "custom_jvp_call": _custom_jvp,
    "custom_vjp_call": _custom_vjp,
}
