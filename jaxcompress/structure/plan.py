"""A dry run of a removal: what each family would lose, and what that saves."""

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcompress.core.checks import check_concrete, check_untraced
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.core.rules import as_rules
from jaxcompress.core.trees import check_call
from jaxcompress.core.types import Model, Params, PyTree
from jaxcompress.graph.surgery.couplings import Couplings, couplings_of
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.graph.surgery.walk import couple
from jaxcompress.structure.amounts.amount import Amount
from jaxcompress.structure.cut import Cut, as_cut, check_cut
from jaxcompress.structure.importance.scores import (
    Importance,
    Scores,
    check_importance,
    check_scores,
)
from jaxcompress.structure.planned import FamilyPlan, RemovalPlan
from jaxcompress.structure.widths import (
    Candidates,
    Ledger,
    Widths,
    ladder,
    least_worth,
    mac_prices,
    parameter_prices,
    shrunk_totals,
)

NO_DATA = "no data reached their units, or nothing depends on them"
NOT_LOOKED_AT = "the importance does not look at their leaves"
NO_WIDTH = "the cut's floors and multiples allow no smaller width"


def plan(
    fn: Model,
    params: Params,
    importance: Importance,
    *inputs: PyTree,
    cut: Cut | Amount,
) -> RemovalPlan:
    """Lists what `remove` would remove and save, without removing it.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: its params, not compressed.
      importance: what units are worth.
      inputs: a batch; only shapes matter here. Budgets of multiply-adds count one call
        on it.
      cut: how much is removed, from which families, and what they keep; an amount alone
        takes from every family.

    Returns:
      RemovalPlan.

    Raises:
      ValueError: no family can lose units, a pattern or rule matches none or only such
        without scores, the amount cannot be met, or a score is NaN, infinite or of the
        wrong shape.
      TypeError: a leaf is compressed.

    Example:
      >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(4), "out": jnp.array([[1.0], [4.0], [3.0], [2.0]])}
      >>> magnitude = jc.structure.importance.magnitude()
      >>> two = jc.structure.amounts.count(2)
      >>> print(jc.structure.plan(fn, params, magnitude, jnp.ones((1, 4)), cut=two))
      family  units  kept  scores         removed  saves parameters  macs
      in:1    4      2     1.41 … 4.12    0 3      10                10
      parameters: 20 to 10 (50.0%)
      size_bytes: 80 to 40 (50.0%)
      macs: 20 to 10 (50.0%)
    """
    check_call("plan", fn, params, inputs)
    check_importance("plan", importance)
    check_cut("plan", "cut", cut)
    check_untraced("plan", params=params)
    cut = as_cut(cut)
    return plan_among(candidates_for(cut, fn, params, inputs), importance, cut)


def candidates_for(cut: Cut, fn: Model, params: Params, inputs: tuple[Any, ...]) -> Candidates:
    """The families that a cut may take from."""
    _check_plain(params)
    coupled = couple(fn, params, *inputs)
    found = _chosen(couplings_of(coupled), cut.families)
    return Candidates(fn, params, inputs, coupled, found, _ladders(found, cut))


def plan_among(candidates: Candidates, importance: Importance, cut: Cut) -> RemovalPlan:
    """What a cut takes from these candidates."""
    found = candidates.couplings
    cut.amount.check(candidates)
    given = importance(candidates.fn, candidates.params, found)
    scores = _checked(given, found)
    reasons = {
        name: NO_DATA if name in given else NOT_LOOKED_AT
        for name in found.units
        if name not in scores
    }
    _check_named(cut.families, reasons, found)
    scored = _with_scores_only(candidates, scores)
    if len(scored.ladders) < len(candidates.ladders):
        cut.amount.check(scored)
    widths = cut.amount.widths(scored, scores)
    removal = dataclasses.replace(scored.removal(widths, scores), divisors=cut.divisors)
    return RemovalPlan(
        families=_rows(candidates, scores, reasons | _stuck(scored), candidates.present | widths),
        removal=removal,
        before=shrunk_totals(candidates, Removal(())),
        after=shrunk_totals(candidates, removal),
    )


def _stuck(candidates: Candidates) -> dict[str, str]:
    """By family why it cannot lose a unit, of those that can take one width alone."""
    return {name: NO_WIDTH for name, widths in candidates.ladders.items() if len(widths) == 1}


def _check_plain(params: Params) -> None:
    for name, leaf in named_leaves(params).items():
        if is_compressed(leaf):
            raise TypeError(f"plan: leaf {name!r} is compressed. Remove first, then compress.")


def _chosen(found: Couplings, patterns: Sequence[str]) -> Couplings:
    """The families that can lose units and were asked for."""
    names = list(found.units)
    if not names:
        raise ValueError(f"plan: no family can lose units. The model's couplings:\n{found}")
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ValueError(
                f"plan: Cut(families={pattern!r}) matches no family. Families are: "
                f"{', '.join(names)}."
            )
    chosen = {name for pattern in patterns for name in fnmatch.filter(names, pattern)}
    families = tuple(family for family in found.families if family.name in chosen)
    return dataclasses.replace(found, all=families)


def _ladders(found: Couplings, cut: Cut) -> dict[str, tuple[int, ...]]:
    """By family name the widths it may take, falling from the present one."""
    floors = as_rules(cut.floors).map(int).assign(found.units)
    multiples = as_rules(cut.multiple_of).map(int).assign(found.units)
    return {
        family.name: ladder(family, floors.get(family.name, 1), multiples.get(family.name, 1))
        for family in found.families
    }


def _checked(scores: Scores, found: Couplings) -> dict[str, np.ndarray]:
    """The scores that are known, on the host, finite and of the families' shapes."""
    shapes = {family.name: family.unit_shape for family in found.families}
    if not any(np.size(values) for values in scores.values()):
        raise ValueError(
            "plan(importance=...) scores no family. Take another importance, or select more."
        )
    check_concrete("plan", importance=scores)
    checked = {}
    for name, values in scores.items():
        if name not in shapes:
            raise ValueError(
                f"plan(importance=...) scores {name!r}; families are: {', '.join(shapes)}."
            )
        array = np.asarray(values, np.float32)
        if not array.size:
            continue
        if array.shape != shapes[name]:
            raise ValueError(
                f"plan(importance=...) scores {name!r} in shape {array.shape}; one number per "
                f"unit has shape {shapes[name]}."
            )
        check_scores("plan", name, array)
        checked[name] = array
    return checked


def _check_named(patterns: Sequence[str], reasons: Mapping[str, str], found: Couplings) -> None:
    """Raises where a family that was asked for by name has no scores."""
    for pattern in patterns:
        named = fnmatch.filter(found.units, pattern)
        if pattern != "*" and all(name in reasons for name in named):
            raise ValueError(
                f"plan: Cut(families={pattern!r}) asks for {', '.join(named)}, whose scores are "
                f"not known: {reasons[named[0]]}. Give data that reach them, or another importance."
            )


def _with_scores_only(candidates: Candidates, scores: Mapping[str, np.ndarray]) -> Candidates:
    """Leaves out families without scores, which keep their units."""
    found = candidates.couplings
    return dataclasses.replace(
        candidates,
        couplings=dataclasses.replace(
            found, all=tuple(family for family in found.families if family.name in scores)
        ),
        ladders={name: candidates.ladders[name] for name in scores},
    )


def _rows(
    candidates: Candidates,
    scores: Mapping[str, np.ndarray],
    reasons: Mapping[str, str],
    widths: Widths,
) -> tuple[FamilyPlan, ...]:
    parameters = Ledger(candidates.couplings, parameter_prices(candidates))
    macs = Ledger(candidates.couplings, mac_prices(candidates))
    present = candidates.present
    return tuple(
        FamilyPlan(
            name=family.name,
            units=family.size,
            kept=widths[family.name],
            layers=family.layers,
            removed=_tuples(
                least_worth(scores[family.name], family.size - widths[family.name])
                if family.name in scores
                else np.zeros(0, int)
            ),
            scores=_tuples(scores.get(family.name, np.zeros(0))),
            parameters_saved=round(parameters.saved(present, family.name, widths[family.name])),
            macs_saved=round(macs.saved(present, family.name, widths[family.name])),
            reason=reasons.get(family.name, ""),
        )
        for family in candidates.couplings.families
    )


def _tuples(array: np.ndarray) -> tuple[Any, ...]:
    if array.ndim == 1:
        return tuple(array.tolist())
    return tuple(_tuples(row) for row in array)
