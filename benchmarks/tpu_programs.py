"""What is compiled for a TPU: name, function and shapes of every method.

On a perceptron of 784, twice 1,024 and 10 units at a batch of 128, and on square
matrices of 1,024: so large that it shows what a compiler unrolls by size.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import jaxcompress as jc
from jaxcompress import kernels
from jaxcompress import optimizers as o
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.types import Array, Params
from jaxcompress.graph import rewrite
from jaxcompress.layerwise import drift
from jaxcompress.prune.post_training import fisher_blocks
from jaxcompress.quantize.execution.forms import by_name
from jaxcompress.structure import decomposition

WIDTHS, BATCH, SIDE = (784, 1024, 1024, 10), 128, 1024
RATE = 1e-3


class Program(NamedTuple):
    """A function and the shapes of its arguments, trees of `jax.ShapeDtypeStruct`."""

    function: Callable
    shapes: tuple


def floats(*shape: int) -> jax.ShapeDtypeStruct:
    """A float32 array that is not there."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def codes(*shape: int, dtype=jnp.int8) -> jax.ShapeDtypeStruct:
    """Codes that are not there."""
    return jax.ShapeDtypeStruct(shape, dtype)


def model(params: Params, x: Array) -> Array:
    """The perceptron's outputs, (batch, 10)."""
    *hidden, last = params.values()
    for layer in hidden:
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"][None])
    return x @ last["kernel"] + last["bias"][None]


def loss_of(outputs: Array) -> Array:
    """() mean square of outputs."""
    return jnp.mean(outputs**2)


def loss(params: Params, x: Array) -> Array:
    """() of the model's outputs."""
    return loss_of(model(params, x))


PARAMS = {
    f"layer{i}": {"kernel": floats(*sides), "bias": floats(sides[1])}
    for i, sides in enumerate(itertools.pairwise(WIDTHS))
}
DATA = floats(BATCH, WIDTHS[0])
LAYERS = o.kfac_layers(model, PARAMS, DATA).layers
KEY = partial(jax.random.key, 0)


def nothing(params: Params, x: Array) -> dict[str, Any]:
    """What most optimizers ask for beside gradients."""
    del params, x
    return {}


def hutchinson(params: Params, x: Array) -> dict[str, Any]:
    """What optimizers by a Hessian's diagonal ask for."""
    return {"diagonal": lambda key: o.hutchinson(partial(loss, x=x), params, key)}


def step_of(optimizer: optax.GradientTransformation, asked=nothing) -> Program:
    """A whole training step, from params, state and data to params and state."""
    optimizer = optax.with_extra_args_support(optimizer)

    def step(params: Params, state: optax.OptState, x: Array):
        grads = jax.grad(loss)(params, x)
        updates, state = optimizer.update(grads, state, params, **asked(params, x))
        return optax.apply_updates(params, updates), state

    return Program(step, (PARAMS, jax.eval_shape(optimizer.init, PARAMS), DATA))


# Functions of nothing, so that importing this computes nothing.
OPTIMIZERS: dict[str, Callable[[], Program]] = {
    **{
        make.__name__: partial(lambda make: step_of(make(RATE)), make)
        for make in (
            *(o.sgd, o.heavy_ball, o.nesterov, o.adagrad, o.rmsprop, o.centered_rmsprop),
            *(o.adam, o.adamw, o.nadam, o.amsgrad, o.lion, o.adam_mini, o.adafactor),
            *(o.muon, o.soap, o.shampoo, o.schedule_free_adamw, o.schedule_free_sgd),
        )
    },
    "galore": lambda: step_of(o.galore(o.scale_by_adam(), rank=64)),
    "8-bit adamw": lambda: step_of(o.quantize_state(o.adamw(RATE))),
    "4-bit adamw": lambda: step_of(o.quantize_state(o.adamw(RATE), o.linear4())),
    "lookahead": lambda: step_of(o.lookahead(o.adamw(RATE))),
    "averaged": lambda: step_of(o.averaged(o.adamw(RATE), 0.999)),
    "guards": lambda: step_of(o.monitor(o.skip_nonfinite(o.dynamic_loss_scale(o.adamw(RATE))))),
    "adahessian": lambda: step_of(o.adahessian(RATE, KEY()), hutchinson),
    "sophia": lambda: step_of(o.sophia(RATE, KEY()), hutchinson),
    "newton_cg": lambda: step_of(o.newton_cg(), lambda params, x: {"loss": partial(loss, x=x)}),
    "gauss_newton": lambda: step_of(
        o.gauss_newton(), lambda params, x: {"outputs": partial(model, x=x), "loss": loss_of}
    ),
    "lbfgs": lambda: step_of(
        o.lbfgs(),
        lambda params, x: {
            "value": loss(params, x),
            "grad": jax.grad(loss)(params, x),
            "value_fn": partial(loss, x=x),
        },
    ),
    "kfac": lambda: step_of(
        o.kfac(RATE, LAYERS, KEY()),
        lambda params, x: {"factors": lambda key: o.kfac_factors(model, params, (x,), key)},
    ),
}


def on_codes(spec: jc.QuantSpec, form: str) -> Program:
    """The model on codes, every site in one form."""
    axes = jc.graph.axes(model, PARAMS, DATA)
    quantized = jax.eval_shape(
        lambda params: jc.quantize.quantize(params, spec, axes=axes)[0], PARAMS
    )
    multiply = by_name(jc.quantize.execution.dynamic())[form]

    def replacement(site, apply: Callable, data: Array, weight) -> Array:
        coded = isinstance(weight, QTensor)
        return multiply(site, apply, data, weight) if coded else apply(data, weight)

    return Program(rewrite(model, replacement), (quantized, DATA))


SPECS = {
    "int8": jc.quantize.int8(),
    "int4": jc.quantize.int4(),
    "grouped int4": jc.quantize.int4(group_size=16),
}

EXECUTION: dict[str, Callable[[], Program]] = {
    "dense": lambda: Program(model, (PARAMS, DATA)),
    **{
        f"{name}, {form}": partial(on_codes, spec, form)
        for name, spec in SPECS.items()
        for form in by_name(jc.quantize.execution.dynamic())
        # Where groups share a scale, none can come after the product.
        if (name, form) != ("grouped int4", "scaled")
    },
}

ROWS, CODES, PACKED = (
    codes(BATCH, SIDE),
    codes(SIDE, SIDE),
    codes(SIDE, SIDE // 2, dtype=jnp.uint8),
)
SCALES = floats(SIDE, SIDE // 64)

KERNELS: dict[str, Callable[[], Program]] = {
    "int8_matmul": lambda: Program(kernels.int8_matmul, (ROWS, CODES)),
    "grouped_matmul": lambda: Program(kernels.grouped_matmul, (ROWS, CODES, SCALES)),
    "packed_matmul": lambda: Program(partial(kernels.packed_matmul, lowest=-7), (ROWS, PACKED)),
    "packed_grouped_matmul": lambda: Program(
        partial(kernels.packed_grouped_matmul, lowest=-7), (ROWS, PACKED, SCALES)
    ),
    "two_digit_matmul": lambda: Program(kernels.two_digit_matmul, (floats(BATCH, SIDE), CODES)),
}


def solving(solver: jc.prune.solvers.SparsitySolver, side: int = SIDE) -> Program:
    """Half of a square matrix, by a solver."""
    shapes = floats(side, side), floats(side, side)
    return Program(lambda weight, second_moment: solver(weight, second_moment, 0.5), shapes)


def rounded(rounding: jc.quantize.rounding.Rounding, spec: jc.QuantSpec) -> Program:
    """The codes of a square matrix, on the second moment of its inputs."""
    return Program(rounding.solver(spec).solve, (floats(SIDE, SIDE),) * 2)


BLOCKS, SIZE = SIDE * SIDE // 50, 50

SOLVERS: dict[str, Callable[[], Program]] = {
    "sparsegpt": lambda: solving(jc.prune.solvers.sparsegpt()),
    "sparsegpt, 2 of 4": lambda: solving(
        jc.prune.solvers.sparsegpt(pattern=jc.prune.patterns.n_of_m(2, 4))
    ),
    "refitted": lambda: solving(jc.prune.solvers.refitted(jc.prune.solvers.sparsegpt())),
    "least_squares": lambda: solving(jc.prune.solvers.least_squares()),
    "optimal_brain_surgeon": lambda: solving(jc.prune.solvers.optimal_brain_surgeon(), 256),
    "corrected": lambda: Program(drift.change_of, (floats(SIDE, SIDE),) * 3),
    "woodfisher, costs": lambda: Program(
        fisher_blocks.costs, (floats(BLOCKS, SIZE), floats(BLOCKS, SIZE, SIZE))
    ),
    "woodfisher, made_up": lambda: Program(
        fisher_blocks.made_up,
        (floats(BLOCKS, SIZE), codes(BLOCKS, SIZE, dtype=jnp.bool), floats(BLOCKS, SIZE, SIZE)),
    ),
    "gptq": lambda: rounded(jc.quantize.rounding.gptq(), SPECS["grouped int4"]),
    "gptq, nf4": lambda: rounded(jc.quantize.rounding.gptq(), jc.quantize.formats.nf4()),
    "trellis": lambda: rounded(jc.quantize.rounding.trellis(0.1), jc.quantize.int8(per="tensor")),
    # Of a side above 256 `eigh` and `svd` are unrolled there: 1,024 takes minutes.
    "factorize, side 256": lambda: Program(
        lambda weight, covariance: decomposition.weighted(weight, covariance, 0.01).factors(64),
        (floats(256, 256), floats(256, 256)),
    ),
}

PROGRAMS = {
    f"{family}: {name}": program
    for family, programs in {
        "optimizer": OPTIMIZERS,
        "execution": EXECUTION,
        "kernel": KERNELS,
        "solver": SOLVERS,
    }.items()
    for name, program in programs.items()
}
