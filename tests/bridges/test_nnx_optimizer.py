"""Optimizers inside `nnx.Optimizer`: the plain loop's updates, and states to read.

It keeps every array of the state in a variable, and gives a node that stands for a
param's array back as another type of node.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxcompress as jc
from jaxcompress import optimizers as o
from jaxcompress import prune as p
from jaxcompress.core.flax_leaf import unwrapped
from tests.optimizers.table import OPTIMIZERS
from tests.test_companions import CASES as COMPANIONS

STEPS = 4
HALF = {"kernel": jnp.arange(12).reshape(4, 3) % 2 == 0, "bias": jnp.array(True)}
SOON = jc.schedules.every(1)


def in_codes(inner, format: Any = o.bfloat16(), **options):
    return o.quantize_state(inner, format, select=jc.everything(), **options)


def moving(inner) -> Any:
    return p.regrow(inner, p.criteria.gradient_momentum(0.9), HALF, when=SOON)


def sparser(inner):
    return p.prune(inner, p.criteria.movement(), 0.5, when=SOON)


def several(inner):
    return optax.MultiSteps(inner, 2).gradient_transformation()


CODES = in_codes(o.adam(0.01))
GROUPS = {
    "table": {case.name: case(0.01) for case in OPTIMIZERS},
    "states of nodes": {
        "soap in a guard": o.skip_nonfinite(o.scale_by_soap(every=2)),
        "blocks of 8 bits": in_codes(optax.adam(0.01), o.dynamic8()),
        "noisy codes": in_codes(optax.adam(0.01), key=jax.random.key(1)),
        "accumulated": several(CODES),
        "in a projection": o.galore(CODES, rank=1),
        "slow": o.lookahead(CODES),
        "averaged": o.averaged(CODES),
        "free": o.schedule_free(CODES, 0.01),
        "scaled": o.dynamic_loss_scale(CODES),
        "watched": o.monitor(CODES),
    },
    "pruning": {
        "sparser": sparser(CODES),
        "moving": moving(CODES),
        "moving in codes": in_codes(moving(o.adam(0.01))),
        "held": p.hold(CODES, HALF),
        "accumulated": several(sparser(optax.adam(0.01))),
        "masked": optax.masked(sparser(optax.adam(0.01)), jc.weights()),
    },
}


SGD = optax.sgd(0.1)
READ = {
    "masks_of": (sparser(SGD), lambda state, params: p.masks_of(state)),
    "averaged": (o.averaged(SGD), o.evaluation_params),
    "lookahead": (o.lookahead(SGD), o.evaluation_params),
    "schedule_free": (o.schedule_free_sgd(0.1), o.evaluation_params),
    "read": (o.monitor(SGD), lambda state, params: o.read(state)),
    "scale_loss": (
        o.dynamic_loss_scale(SGD),
        lambda state, params: o.scale_loss(jnp.float32(3), state),
    ),
}


def slopes(tree):
    return jax.tree.map(lambda leaf: jnp.sin(3 * leaf) + 0.1, tree)


def side_by_side(rows):
    """Each on its own part of the params, all in one program."""

    def init(params):
        return {name: rows[name].init(tree) for name, tree in params.items()}

    @jax.jit
    def update(updates, state, params):
        both = {name: rows[name].update(updates[name], state[name], params[name]) for name in rows}
        taken, state = ({name: pair[i] for name, pair in both.items()} for i in range(2))
        return jax.tree.unflatten(jax.tree.structure(updates), jax.tree.leaves(taken)), state

    return optax.GradientTransformation(init, update)


@pytest.mark.parametrize("group", GROUPS)
def test_an_nnx_optimizer_takes_the_steps_of_the_plain_loop(group):
    rows = GROUPS[group]
    module = nnx.Dict({name: nnx.Linear(4, 3, rngs=nnx.Rngs(0)) for name in rows})
    transformation = side_by_side(rows)
    optimizer = nnx.Optimizer(module, transformation, wrt=nnx.Param)
    params = unwrapped(nnx.state(module, nnx.Param))
    state = transformation.init(params)
    for _ in range(STEPS):
        updates, state = transformation.update(slopes(params), state, params)
        params = optax.apply_updates(params, updates)
        optimizer.update(module, slopes(nnx.state(module, nnx.Param)))
    found = unwrapped(nnx.state(module, nnx.Param))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), found, params)


def one_step(transformation, steps=1):
    """A module, its optimizer and the plain state, after as many steps."""
    module = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(module, transformation, wrt=nnx.Param)
    params = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    state = transformation.init(params)
    for _ in range(steps):
        updates, state = transformation.update(slopes(params), state, params)
        params = optax.apply_updates(params, updates)
        optimizer.update(module, slopes(nnx.state(module, nnx.Param)))
    return module, optimizer, params, state


def kinds_of_params(module):
    state = nnx.state(module, nnx.Param)
    return {
        "variables": state,
        "arrays": unwrapped(state),
        "dict": nnx.to_pure_dict(state),
        "bridge": jc.bridges.nnx.functional(module).params,
    }


@pytest.mark.parametrize("name", READ)
def test_its_state_is_read_as_the_plain_one(name):
    transformation, read = READ[name]
    module, optimizer, params, state = one_step(transformation)
    expected = jax.tree.leaves(read(state, params))
    for kind in kinds_of_params(module).values():
        found = read(optimizer.opt_state, kind)
        assert all(leaf is not None for leaf in expected)
        jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(found), expected)


def test_what_its_state_tells_of_faults_is_raised():
    module, optimizer, *_ = one_step(p.hold(SGD, HALF))
    p.check(optimizer.opt_state)
    module.kernel[...] = jnp.ones((4, 3))
    optimizer.update(module, slopes(nnx.state(module, nnx.Param)))
    with pytest.raises(ValueError, match=r"check\(opt_state\): .* in 'kernel' \(6\)"):
        p.check(optimizer.opt_state)

    module, optimizer, *_ = one_step(o.skip_nonfinite(SGD))
    o.check_skips(optimizer.opt_state)
    for _ in range(2):
        optimizer.update(module, jax.tree.map(jnp.log, nnx.state(module, nnx.Param)))
    with pytest.raises(ValueError, match="the last 2 steps were skipped"):
        o.check_skips(optimizer.opt_state, most=1)


TAKERS = {
    "sparsity_of": p.sparsity_of,
    "apply": p.apply,
    "hold": lambda masks, params: held(masks).init(params).masks,
    "regrow": lambda masks, params: moving_from(masks).init(params).masks,
    "quantize": lambda masks, params: jc.quantize.quantize(
        p.apply(masks, params), jc.quantize.int8(), masks=masks
    )[0],
    "straight_through": lambda masks, params: p.views.straight_through(lambda _: masks)(params),
    "sr_ste": lambda masks, params: p.views.sr_ste(lambda _: masks)(params),
    "surgery": lambda masks, params: p.views.surgery(masks, params, deviations=0.0),
    "proximal_trimmed": lambda masks, params: trimmed(masks, params),
}


def held(masks) -> Any:
    return p.hold(SGD, masks)


def moving_from(masks) -> Any:
    return p.regrow(SGD, p.criteria.gradient_momentum(0.9), masks)


def trimmed(masks, params):
    proximal = p.penalties.proximal_trimmed(0.5, weight=0.1, spared=lambda _: masks)
    return proximal.update(params, proximal.init(params), params)[0]


@pytest.mark.parametrize("name", TAKERS)
def test_masks_of_its_state_are_taken_with_any_form_of_the_params(name):
    module, optimizer, params, state = one_step(p.hold(SGD, HALF))
    expected = jax.tree.leaves(TAKERS[name](p.masks_of(state), params))
    for masks in (p.masks_of(optimizer.opt_state), optimizer.opt_state.masks):
        for kind in kinds_of_params(module).values():
            found = TAKERS[name](masks, kind)
            jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(found), expected)


@pytest.mark.parametrize("name", COMPANIONS)
def test_companions_are_trained_beside_a_module(name):
    """The optimizer is given both, as variables of one module."""
    technique = COMPANIONS[name].technique
    layer = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    begun = technique.init(nnx.state(layer))
    own = nnx.Dict({leaf: nnx.Param(companion) for leaf, companion in begun.items()})
    both = nnx.Dict(layer=layer, own=own)
    optimizer = nnx.Optimizer(both, optax.sgd(0.1), wrt=nnx.Param)
    key = jax.random.key(0)

    def loss(params, companions):
        seen = jax.tree.leaves(technique.view(params, companions, jc.Step(1, key)))
        return sum(map(jnp.sum, seen)) + technique.penalty(params, companions)

    def state(node) -> Any:
        return nnx.state(node, nnx.Param)

    pure = nnx.to_pure_dict(state(both))
    grads = jax.grad(lambda tree: loss(tree["layer"], tree["own"]))(pure)
    expected = optax.apply_updates(pure, jax.tree.map(lambda leaf: -0.1 * leaf, grads))
    optimizer.update(both, nnx.grad(lambda both: loss(state(both.layer), state(both.own)))(both))
    found = nnx.to_pure_dict(state(both))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)
    shipped = [
        jax.tree.leaves(technique.freeze(tree, companions))
        for tree, companions in ((found["layer"], found["own"]), map(state, (layer, own)))
    ]
    jax.tree.map(np.testing.assert_array_equal, *shipped)


@pytest.mark.parametrize("name", [name for name in READ if READ[name][1] is o.evaluation_params])
def test_params_of_another_model_are_refused(name):
    opt_state = READ[name][0].init({"kernel": jnp.ones((2, 2))})
    with pytest.raises(ValueError, match="the state averages leaf 'kernel', which is not among"):
        o.evaluation_params(opt_state, {"weight": jnp.ones((2, 2))})
