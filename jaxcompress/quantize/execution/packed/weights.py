"""Weights of signs as they are held: words of bits, and a scale for each channel."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.types import Array, Params
from jaxcompress.graph.choice import choose
from jaxcompress.graph.program import Program
from jaxcompress.graph.rewrite import run_program
from jaxcompress.quantize.execution.activations import Activations
from jaxcompress.quantize.execution.signs import (
    sign_obstacle,
    terms,
    weight_planes,
    weight_scale,
)


class Signs(NamedTuple):
    """The weight of a site.

    Attributes:
      words: (planes, words, batch…, outputs) uint32; words lead, as they are counted.
      scale: (batch…, 1, outputs or 1) float32.
    """

    words: Array
    scale: Array

    @property
    def planes(self) -> Array:
        """(planes, batch…, outputs, words), as `sign_matmul` takes them."""
        return jnp.moveaxis(self.words, 1, -1)


class SignSite(NamedTuple):
    """What is static of a site that multiplies words of bits.

    Attributes:
      spec: the format of the weight's codes.
      activations: how its data become codes.
      length: how many products an output sums.
    """

    spec: QuantSpec
    activations: Activations
    length: int


class Found(NamedTuple):
    """What the sites of a program multiply.

    Attributes:
      sites: those that multiply words of bits, in program order.
      signs: their weights.
      reasons: of the others that the rules name, by site, why they do not.
    """

    sites: dict[str, SignSite]
    signs: dict[str, Signs]
    reasons: dict[str, str]


def found_signs(
    program: Program, params: Params, inputs: tuple[Any, ...], rules: Rules[Any]
) -> Found:
    """Packs the weights of all sites at the top of a flat program that are signs."""
    sites: dict[str, SignSite] = {}
    reasons: dict[str, str] = {}
    top, chosen = _at_top(program), choose(program, rules, lambda site: site.leaf)

    def taken(site, apply, data, weight, state):
        activations = chosen[site.name]
        reason = _obstacle(site, weight, activations)
        if reason or site.name not in top:
            reasons[site.name] = (
                reason or "in a loop or branch, where words are packed in each turn"
            )
            return apply(data, weight), state
        sites[site.name] = SignSite(weight.spec, activations, terms(site, weight))
        words = jnp.moveaxis(weight_planes(site, weight), -1, 1)
        given[site.name] = Signs(words, weight_scale(site, weight))
        return apply(data, weight), state

    given: dict[str, Signs] = {}

    @jax.jit
    def packed(params, inputs):
        given.clear()
        handlers = dict.fromkeys(chosen, taken)
        run_program(program, params, inputs, dict.fromkeys(chosen, ()), handlers)
        return dict(given)

    signs = packed(params, jax.tree.map(_array, inputs))
    return Found(sites, {name: signs[name] for name in sites}, reasons)


def _array(x):
    return jnp.zeros(x.shape, x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else x


def _obstacle(site, weight, activations: Activations) -> str:
    if not isinstance(weight, QTensor):
        return "no codes of signs where it meets data"
    return sign_obstacle(site, weight, activations)


def _at_top(program: Program) -> frozenset[str]:
    """The sites that are equations of the program itself, in no loop."""
    steps = (step for step in program.block.steps if not step.blocks)
    return frozenset(name for step in steps for name in step.sites)
