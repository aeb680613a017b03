"""Runs a flat program with sites of signs on words of bits."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.formats.coding import encode
from jaxcompress.core.formats.grids import covered, grid
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.rules import Rules
from jaxcompress.core.types import Array, Params, PyTree
from jaxcompress.graph import Site
from jaxcompress.graph.choice import choose
from jaxcompress.graph.interpret import Handler
from jaxcompress.graph.layouts import Dot
from jaxcompress.graph.program import Program
from jaxcompress.graph.rewrite import run_program
from jaxcompress.quantize.execution.activations import Activations, finite_rows
from jaxcompress.quantize.execution.forms import bits
from jaxcompress.quantize.execution.packed.sources import moved
from jaxcompress.quantize.execution.packed.tables import Between, Thresholds
from jaxcompress.quantize.execution.packed.weights import Signs, SignSite
from jaxcompress.quantize.execution.signs import (
    anywhere,
    encoded,
    scaled,
    scaled_sums,
    sign_obstacle,
    signs_of,
    sums_of_signs,
    weight_scale,
    words_of,
)
from jaxcompress.quantize.training.activations import rounded_data


class Words(NamedTuple):
    """The data of a site as it multiplies them.

    Attributes:
      planes: (planes, batch…, rows, words) uint32.
      steps: (batch…, rows or 1, 1) float32, NaN for rows that are not finite.
    """

    planes: Array
    steps: Array


class Link(NamedTuple):
    """How the data of a site come from the sums of another.

    Attributes:
      between: the two sites, and the way from one to the other.
      thresholds: where bits change, of the rank of what is compared.
    """

    between: Between
    thresholds: Thresholds


def in_words(
    program: Program,
    arrays: tuple[Params, Mapping[str, Signs]],
    inputs: tuple[Any, ...],
    static: Mapping[str, SignSite],
    links: Sequence[Link],
    rules: Rules[Any],
) -> PyTree:
    """The program's outputs, from words of bits and, along links, from sums alone."""
    params, signs = arrays
    waiting: dict[str, Words] = {}
    readers: dict[str, list[Link]] = {}
    for link in links:
        readers.setdefault(link.between.source.name, []).append(link)

    def counted(site: Site, apply: Callable[..., Any], data: Array, weight, state):
        del apply, weight
        own = static[site.name]
        if site.name in waiting:
            words = waiting.pop(site.name)
        else:
            words = Words(*encoded(site, data, own.activations))
        weights = signs[site.name]
        sums = sums_of_signs(site, words.planes, weights.planes, own.length)
        for link in readers.get(site.name, ()):
            waiting[link.between.reader.name] = _next_words(link, sums, words.steps)
        return scaled_sums(site, sums, weights.scale, words.steps), state

    return _with_handlers(program, params, inputs, rules, dict.fromkeys(static, counted))


def in_floats(
    program: Program,
    params: Params,
    inputs: tuple[Any, ...],
    static: Mapping[str, SignSite],
    rules: Rules[Any],
) -> PyTree:
    """The program's outputs with every product of signs summed first and scaled after.

    What `in_words` must give, by other means: no words, no thresholds.
    """

    def summed(site: Site, apply: Callable[..., Any], data: Array, weight, state):
        own = static[site.name].activations
        rows = site.rows(data).astype(jnp.float32)
        on = grid(covered(own.ranges(rows, site), own.spec), own.spec)
        codes = signs_of(encode(rows, on, own.spec), own.spec)
        (values,) = jax.linear_transpose(site.rows, data.astype(jnp.float32))(codes)
        # Whole numbers below 2**24: exact in float32, in any order.
        sums = apply(values, _as_operand(weight), preferred_element_type=jnp.float32)
        steps = jnp.where(anywhere(site, ~finite_rows(rows)), jnp.nan, on.steps(own.spec))
        outputs = math.prod(weight.shape[axis] for axis in site.operand_axes.output)
        scales = (
            site.output(jnp.broadcast_to(each, (*site.output_rows, outputs)))
            for each in (weight_scale(site, weight), steps)
        )
        return scaled(sums.astype(jnp.int32), *scales).astype(site.dtype), state

    return _with_handlers(program, params, inputs, rules, dict.fromkeys(static, summed))


def _as_operand(weight: QTensor) -> Array:
    """What codes of a weight stand for in steps, as its equation takes it."""
    signs = signs_of(weight.unpacked_codes, weight.spec)
    inverse = sorted(range(signs.ndim), key=weight.permutation.__getitem__)
    return jnp.transpose(signs, inverse)


def _with_handlers(
    program: Program,
    params: Params,
    inputs: tuple[Any, ...],
    rules: Rules[Any],
    handlers: Mapping[str, Handler],
) -> PyTree:
    named = Rules((pattern, (pattern, each)) for pattern, each in rules.pairs)
    chosen = choose(program, named, lambda site: site.leaf)
    every = {name: _rounding(*pair) for name, pair in chosen.items()}
    every |= handlers
    return run_program(program, params, inputs, dict.fromkeys(every, ()), every)[0]


def _rounding(pattern: str, activations: Activations) -> Handler:
    """Rounds data as in training; where signs meet signs in a loop, to words."""
    rounded = rounded_data(activations, pattern)

    def handler(site: Site, apply: Callable[..., Any], data: Array, weight, state):
        whole = hasattr(weight, "spec") and not sign_obstacle(site, weight, activations)
        form = bits(activations) if whole else rounded
        return form(site, apply, data, weight), state

    return handler


def _next_words(link: Link, sums: Array, steps: Array) -> Words:
    """The data of the next site, from the sums of the one they are made of."""
    least, falling, step = link.thresholds
    way = link.between
    output = moved(way.source.output(sums), way.made.before)
    planes = (output[None] >= least) != falling  # (planes, …)
    rows = jax.vmap(partial(_rows, way))(planes.astype(jnp.uint8)) != 0
    words = jax.vmap(partial(words_of, way.reader))(rows)
    spoiled = ~jnp.isfinite(steps)  # (batch…, rows or 1, 1)
    return Words(words, jnp.where(_spoiled_rows(way, spoiled, sums), jnp.nan, step))


def _rows(way: Between, plane: Array) -> Array:
    return way.reader.rows(moved(plane, way.made.after))


def _spoiled_rows(way: Between, spoiled: Array, sums: Array) -> Array:
    """Which rows of the next site hold an entry of a row that is not finite."""
    if _in_place(way):
        return spoiled
    spread = jnp.broadcast_to(spoiled, sums.shape).astype(jnp.uint8)
    entries = moved(way.source.output(spread), way.made.before)
    return anywhere(way.reader, _rows(way, entries) != 0)


def _in_place(way: Between) -> bool:
    """Whether rows of one site's output are the rows of the next site's data."""
    source, reader = way.source.layout, way.reader.layout
    if not (isinstance(source, Dot) and isinstance(reader, Dot)):
        return False
    kept = tuple(range(len(way.source.output_shape)))
    return (
        not (way.made.before or way.made.after)
        and source.permutation == kept
        and sum(reader.data, ()) == kept
        and not reader.data[0]
        and not source.data[0]
        and len(reader.data[2]) == 1
    )
