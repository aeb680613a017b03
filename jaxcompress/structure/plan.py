"""A dry run of a removal: each family, its scores, what would go and what that saves.

Nothing is removed here; the matter of `remove`.
"""

import dataclasses
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from jaxcompress.core.checks import check_count
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.core.report import aligned
from jaxcompress.core.rules import Rules, as_rules
from jaxcompress.core.types import Model, Params
from jaxcompress.graph.couplings import Couplings, couplings
from jaxcompress.graph.removal import Removal
from jaxcompress.structure.amounts import Amount
from jaxcompress.structure.gating import score_shape
from jaxcompress.structure.importance import Importance, Scores, check_scores
from jaxcompress.structure.widths import (
    Candidates,
    Ledger,
    Totals,
    Widths,
    ladder,
    lowest,
    mac_prices,
    parameter_prices,
    shrunk_totals,
)

MOST_SHOWN = 8
"""Units of a family that a table names."""

NO_DATA = "no data reached their units, or nothing depends on them"
NOT_LOOKED_AT = "the importance does not look at their leaves"


@dataclasses.dataclass(frozen=True)
class FamilyPlan:
    """What one family would lose.

    Fields:
      name: the family's name.
      units: how many it has.
      kept: how many stay, in each layer.
      layers: layers of a scan that lose units of their own; 0 for none.
      removed: the units that go, rising; per layer where layers differ.
      scores: of all units, per layer where layers differ; empty where nothing is known
        of them.
      parameters_saved: numbers in leaves, if this family alone were narrower.
      macs_saved: multiply-adds, if this family alone were narrower.
      reason: why nothing is known of its units: no data reached them, or the importance
        does not look at their leaves; empty where they have scores.
    """

    name: str
    units: int
    kept: int
    layers: int
    removed: tuple
    scores: tuple
    parameters_saved: int
    macs_saved: int
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a removal would take and leave; printed, a table.

    Fields:
      families: one row per family that was asked for.
      removal: what would go.
      before, after: what the model holds and costs; multiply-adds of one call.
    """

    families: tuple[FamilyPlan, ...]
    removal: Removal
    before: Totals
    after: Totals

    def __str__(self) -> str:
        header = ("family", "units", "kept", "scores", "removed", "saves parameters", "macs")
        rows = [
            (
                row.name,
                f"{row.layers} × {row.units}" if row.layers else f"{row.units}",
                f"{row.kept}",
                _range(row.scores),
                _listed(row.removed),
                f"{row.parameters_saved:,}",
                f"{row.macs_saved:,}",
            )
            for row in self.families
        ]
        totals = [
            f"{name}: {before:,} to {after:,} ({after / before:.1%})"
            for name, before, after in _pairs(self.before, self.after)
        ]
        whole: dict[str, list[str]] = {}
        for row in self.families:
            whole.setdefault(row.reason, []).append(row.name)
        notes = [f"Whole, since {why}: {', '.join(names)}." for why, names in whole.items() if why]
        return "\n".join([*aligned([header, *rows]), *totals, *notes])


def plan(
    fn: Model,
    params: Params,
    importance: Importance,
    *inputs,
    amount: Amount,
    floors: Rules[int] | int = 1,
    multiple_of: Rules[int] | int = 1,
    select: Sequence[str] = ("*",),
) -> Plan:
    """What `remove` would remove, without doing it.

    Args:
      fn: the model, `fn(params, *inputs) -> outputs`.
      params: its params, not compressed.
      importance: what units are worth.
      inputs: a batch; only shapes matter here. Budgets of multiply-adds count one call
        on it.
      amount: how much goes.
      floors: units that every family keeps at least, or `Rules` over family names.
      multiple_of: what widths are rounded to where a family loses units, for example 8,
        128, or the size of a mesh axis; or `Rules` over family names.
      select: shell-style patterns of family names; the others stay whole.

    Returns:
      Plan.

    Raises:
      ValueError: no family can lose units, a pattern or rule matches none or only such
        without scores, a floor or multiple is no count, the amount cannot be met, or a
        score is NaN, infinite or of the wrong shape.
      TypeError: a leaf is compressed.

    Example:
      >>> fn = lambda params, x: jax.nn.relu(x @ params["in"]) @ params["out"]
      >>> params = {"in": jnp.eye(4), "out": jnp.array([[1.0], [4.0], [3.0], [2.0]])}
      >>> importance, two = jc.structure.magnitude(), jc.structure.count(2)
      >>> print(plan(fn, params, importance, jnp.ones((1, 4)), amount=two))
      family  units  kept  scores         removed  saves parameters  macs
      in:1    4      2     1.41 … 4.12    0 3      10                10
      parameters: 20 to 10 (50.0%)
      size_bytes: 80 to 40 (50.0%)
      macs: 20 to 10 (50.0%)
    """
    _check_plain(params)
    found = _chosen(couplings(fn, params, *inputs), select)
    candidates = Candidates(fn, params, inputs, found, _ladders(found, floors, multiple_of))
    amount.check(candidates)
    given = importance(fn, params, found)
    scores = _checked(given, found)
    reasons = {
        name: NO_DATA if name in given else NOT_LOOKED_AT
        for name in found.units
        if name not in scores
    }
    _check_named(select, reasons, found)
    scored = _with_scores_only(candidates, scores)
    amount.check(scored)
    widths = amount.widths(scored, scores)
    removal = scored.removal(widths, scores)
    return Plan(
        families=_rows(candidates, scores, reasons, candidates.present | widths),
        removal=removal,
        before=shrunk_totals(candidates, Removal(())),
        after=shrunk_totals(candidates, removal),
    )


def _check_plain(params: Params) -> None:
    for name, leaf in named_leaves(params).items():
        if is_compressed(leaf):
            raise TypeError(f"plan: leaf {name!r} is compressed. Remove first, then compress.")


def _chosen(found: Couplings, select: Sequence[str]) -> Couplings:
    """Those families alone that can lose units and were asked for."""
    names = list(found.units)
    if not names:
        raise ValueError(f"plan: no family can lose units. The model's couplings:\n{found}")
    for pattern in select:
        if not fnmatch.filter(names, pattern):
            raise ValueError(
                f"plan(select={pattern!r}) matches no family. Families are: {', '.join(names)}."
            )
    chosen = {name for pattern in select for name in fnmatch.filter(names, pattern)}
    families = tuple(family for family in found.families if family.name in chosen)
    return dataclasses.replace(found, all=families)


def _ladders(
    found: Couplings, floors: Rules[int] | int, multiple_of: Rules[int] | int
) -> dict[str, tuple[int, ...]]:
    least = _assigned("floors", floors, found)
    multiples = _assigned("multiple_of", multiple_of, found)
    return {
        family.name: ladder(family, least.get(family.name, 1), multiples.get(family.name, 1))
        for family in found.families
    }


def _assigned(argument: str, rules: Rules[int] | int, found: Couplings) -> dict[str, int]:
    counts = as_rules(rules).map(partial(check_count, "plan", argument))
    return counts.assign(found.units)


def _checked(scores: Scores, found: Couplings) -> dict[str, np.ndarray]:
    """The scores that are known, on the host, finite and of the families' shapes."""
    shapes = {family.name: score_shape(family) for family in found.families}
    if not any(np.size(values) for values in scores.values()):
        raise ValueError(
            "plan(importance=...) scores no family. Take another importance, or select more."
        )
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


def _check_named(select: Sequence[str], reasons: Mapping[str, str], found: Couplings) -> None:
    """What was asked for by name has scores."""
    for pattern in select:
        named = fnmatch.filter(found.units, pattern)
        if pattern != "*" and all(name in reasons for name in named):
            raise ValueError(
                f"plan(select={pattern!r}) asks for {', '.join(named)}, whose scores are not "
                f"known: {reasons[named[0]]}. Give data that reach them, or another importance."
            )


def _with_scores_only(candidates: Candidates, scores: Mapping[str, np.ndarray]) -> Candidates:
    """A family without scores is none to choose from: it keeps its units."""
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
                lowest(scores[family.name], family.size - widths[family.name])
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


def _tuples(array: np.ndarray) -> tuple:
    if array.ndim == 1:
        return tuple(array.tolist())
    return tuple(_tuples(row) for row in array)


def _range(scores: tuple) -> str:
    return f"{np.min(scores):.3g} … {np.max(scores):.3g}" if scores else "none"


def _listed(removed: tuple) -> str:
    """The units that go, the first few by number."""
    rows = np.atleast_2d(np.asarray(removed, int))
    if not rows.size:
        return "none"
    if len(rows) > 1:
        return f"{rows.shape[1]} in each layer"
    shown = " ".join(map(str, rows[0][:MOST_SHOWN]))
    return shown if rows.size <= MOST_SHOWN else f"{shown} … ({rows.size})"


def _pairs(before: Totals, after: Totals) -> Iterator[tuple[str, int, int]]:
    for field in dataclasses.fields(Totals):
        yield field.name, getattr(before, field.name), getattr(after, field.name)
