"""The walk over sets of channels that smoothing and activation-aware scaling share.

Data are observed once; each set's factors are then chosen on those data times the
factors that moved before.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcompress.core.checks import check_concrete, check_share
from jaxcompress.core.kinds import check_each
from jaxcompress.core.models import check_model
from jaxcompress.core.observers import Observer, together
from jaxcompress.core.report import Report
from jaxcompress.core.rules import Rules
from jaxcompress.core.spec import QuantSpec
from jaxcompress.core.trees import check_arrays
from jaxcompress.core.types import Array, Model, Params
from jaxcompress.graph import axes, trace
from jaxcompress.graph.symmetries import Scalings, scalings
from jaxcompress.quantize.assignment import RULED, Assignment, assign, check_spec
from jaxcompress.quantize.equivalent.samples import magnitudes
from jaxcompress.quantize.equivalent.search import Error, moved, report_of, searched
from jaxcompress.quantize.equivalent.ways import (
    Reader,
    Way,
    check_weights,
    checked_batches,
    of_matrices,
    ways_of,
)

Candidates = Sequence[tuple[float, np.ndarray]]
"""(strength, factors (channels,)) of the data; the first leaves all as it is."""


class Survey(NamedTuple):
    """What is known before a factor moves.

    Attributes:
      caller: the verb.
      params: as they are.
      found: the scalings that leave the function as it is.
      ways: those that are chosen, in the order of the program.
      assigned: by leaf name, how it will be quantized, or why not.
      largest: by site name, the largest magnitude of each input, (matrices, inputs).
      mean: the mean one.
      data: by site name, what the observer read, (matrices, …).
    """

    caller: str
    params: Params
    found: Scalings
    ways: list[Way]
    assigned: dict[str, Assignment | str]
    largest: dict[str, np.ndarray]
    mean: dict[str, np.ndarray]
    data: dict[str, Array]


def surveyed(
    caller: str,
    fn: Model,
    params: Params,
    batches: Iterable[Any],
    spec: QuantSpec | Rules[Any],
    observer_of: Callable[[int], Observer],
) -> Survey:
    """Checks what a verb is given, and observes the data of weights that take factors.

    Args:
      caller: the verb, for errors and the report.
      fn: the model.
      params: its tree.
      batches: calibration data.
      spec: how weights will be quantized.
      observer_of: number of batches -> observer of a weight's inputs.

    Raises:
      TypeError, ValueError: as `smooth` says.
    """
    check_model(caller, fn)
    check_arrays(caller, "params", params)
    check_spec(caller, spec)
    check_concrete(caller, params=params)
    inputs = checked_batches(caller, batches)
    program = trace(fn, params, *inputs[0])
    check_weights(caller, params, program)
    found = scalings(fn, params, *inputs[0])
    assigned = assign(caller, params, spec, axes(fn, params, *inputs[0]), None, RULED)
    ways = ways_of(program, found)
    observer = together(magnitudes(), observer_of(len(inputs)))
    readers = {reader.leaf: observer for way in ways for reader in way.readers}
    seen = of_matrices(caller, fn, program, inputs, readers)(params)
    largest = {name: np.asarray(sizes[0]) for name, (sizes, _) in seen.items()}
    mean = {name: np.asarray(sizes[1]) for name, (sizes, _) in seen.items()}
    data = {name: each for name, (_, each) in seen.items()}
    return Survey(caller, params, found, ways, assigned, largest, mean, data)


def walked(
    survey: Survey,
    sizes: dict[str, np.ndarray],
    candidates: Callable[[Way, Params, dict[str, np.ndarray]], Candidates],
    error_of: Callable[[Reader], Error],
    scaled: Callable[[Array, np.ndarray], Array],
) -> tuple[Params, Report]:
    """Moves the factors of least error, way after way.

    Args:
      survey: what is known.
      sizes: the magnitudes that candidates are made of, of the survey.
      candidates: (way, params, magnitudes), both as they are by now -> what is tried.
      error_of: the error of a weight.
      scaled: (data, factors (matrices, inputs)) -> data of inputs times the factors.
    """
    after, done, data, sizes = survey.params, [], dict(survey.data), dict(sizes)
    for way in survey.ways:
        chosen = searched(way, after, data, candidates(way, after, sizes), error_of)
        after = moved(after, way, chosen)
        for reader in way.readers:
            name = reader.site.name
            by = np.append(chosen.factors, 1.0)[reader.channels].astype(np.float32)
            data[name], sizes[name] = scaled(data[name], by), sizes[name] * by
        done.append((way, chosen))
    return after, report_of(survey.caller, survey.params, after, done, survey.found)


def checked_strengths(caller: str, strengths: Sequence[float]) -> tuple[float, ...]:
    """The strengths, each in [0, 1], at least one."""
    check_each(caller, "strengths", strengths, check_share)
    strengths = tuple(map(float, strengths))
    if not strengths:
        raise ValueError(f"{caller}(strengths=()) tries none. Pass for example (0.5, 0.75).")
    return strengths
