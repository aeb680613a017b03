"""What prints as a table or a sentence: numbers below 0 have a true minus."""

import ast
import pathlib
import re

import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.auto import chosen_formats, cumulative
from jaxcompress.core.sensitivities import LeafSensitivity, Sensitivities
from jaxcompress.graph.surgery.removal import Removal
from jaxcompress.quantize.diagnosis import diagnosis
from jaxcompress.structure import parts, planned
from jaxcompress.structure.widths import Totals
from jaxcompress.validate import cross_validation, splits
from jaxcompress.validate.cards.findings import Result
from jaxcompress.validate.comparisons import damage
from jaxcompress.validate.comparisons.robustness import Robustness, RobustnessTable
from jaxcompress.validate.comparisons.tradeoffs import Tradeoff, Tradeoffs
from jaxcompress.validate.shift.group_results import Group, Subgroups

PACKAGE = pathlib.Path(jc.__file__).parent
ENDS = (-0.25, 0.5)
GAIN = jc.validate.metrics.mean_of(lambda x, y: x, "gain", higher_is_better=True)
MARKS = np.zeros((3, 16), np.uint8)
FOLDS = tuple(splits.k_fold(4, folds=2))


def folds(*scores):
    values = tuple({"score": np.full(2, score)} for score in scores)
    return cross_validation.CrossValidation(FOLDS, values)


class Shown(Result):
    def finding(self):
        return jc.validate.Finding("subgroups", "Worse.", (jc.validate.Figure("gain", -0.5),))


def group(name):
    return Group(name, 9, -0.2, (-0.5, 0.1), 0.1, -0.3, ENDS, 0.1, 0.2, "worse", None)


PRINTED = {
    "Comparison": lambda: jc.validate.Comparison(
        9, -0.1, ENDS, -0.1, ENDS, 1, 2, 0.5, 0.9, 0.01, 0.95
    ),
    "CrossValidation": lambda: folds(-2.0, -1.0),
    "CumulativeSensitivity": lambda: cumulative.CumulativeSensitivity(
        "loss", False, 1.0, (cumulative.Step("a", -0.1, -0.2, -3),), "a", -0.1, {}
    ),
    "DamageTable": lambda: damage.DamageTable(
        (damage.ClassDamage(0, 9, 0.5, 0.4, 1, 2, ENDS, 0.5),), 0.95
    ),
    "DepthReport": lambda: parts.DepthReport((parts.Part("a", -0.5, True, ""),), (), 0.0),
    "Diagnosis": lambda: diagnosis.Diagnosis(
        (diagnosis.SiteSignal("a", "a", (), -3.0, -np.inf, -1.0, 3, 2.0, 0),),
        (diagnosis.LeafCodes("a", "int8", -3.0, 0.5, 4, 1),),
        1,
    ),
    "Evaluation": lambda: jc.validate.Evaluation(
        {"gain": jc.validate.Score(GAIN, -np.ones(3))}, MARKS, MARKS
    ),
    "Finding": lambda: jc.validate.Finding(
        "subgroups", "Worse.", (jc.validate.Figure("gain", -0.5),), about="int4 on test"
    ),
    "Figure": lambda: jc.validate.Figure("gain", -0.5, (-1.0, 0.5), format="+.2f"),
    "FoldComparison": lambda: cross_validation.compare_folds(folds(1, 2), folds(0, 2), "score"),
    "MixedPrecision": lambda: chosen_formats.MixedPrecision(
        "loss", 9, 8, -0.5, (chosen_formats.ChosenFormat("a", None, -0.5, -1),)
    ),
    "RemovalPlan": lambda: planned.RemovalPlan(
        (planned.FamilyPlan("a", 2, 1, 0, (1,), (-0.5, 1.0), 4, 4),),
        Removal(()),
        Totals(8, 8, 8),
        Totals(4, 4, 4),
    ),
    "RobustnessTable": lambda: RobustnessTable(
        (Robustness("noise", 0.1, 9, 0.5, 0.4, 1, 2, ENDS),)
    ),
    "ScoreComparison": lambda: jc.validate.ScoreComparison("r2", 9, 0.5, -0.5, ENDS, 0.95, True),
    "Result": lambda: Shown(),
    "Score": lambda: jc.validate.Score(GAIN, -np.ones(3)),
    "Sensitivities": lambda: Sensitivities(
        (LeafSensitivity("a", {"loss": -0.5}, intervals={"loss": (-1.0, 0.5)}),), "loss", "measured"
    ),
    "Subgroups": lambda: Subgroups("r2", True, 18, -0.1, (group("a"), group("b")), 0.05, 0.95),
    "Table": lambda: jc.report.table(
        [{"gain": -0.5}], columns=(jc.report.Column("gain", "Gain", "+.1f"),), title="Gains"
    ),
    "Tradeoffs": lambda: Tradeoffs((Tradeoff("a", {"r2": (-0.5, -1.0, 0.5)}, 8, 8.0),), 9),
}
NEVER_BELOW_0 = {
    "counts, bytes, shares and distances": {
        "Agreement",
        "Breakdown",
        "Couplings",
        "DeltaSize",
        "ExecutionPlan",
        "FileComparison",
        "FileReport",
        "ForeignFile",
        "LeakageReport",
        "LeakingFeature",
        "Overlap",
        "PostTraining",
        "Removal",
        "RemovalReport",
        "Report",
        "Rotations",
        "Size",
        "SizeReport",
    },
    "formats in words": {
        *("BFloat16", "Block", "Channel", "Codes", "E4M3", "Fixed", "Float32", "Group"),
        *("PowerOfTwo", "QuantSpec", "Row", "Tensor"),
    },
    "formulas, whose exponents are code": {"Scalings"},
}


def printing():
    """The classes of the package that say themselves how they print."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(
                isinstance(each, ast.FunctionDef) and each.name == "__str__" for each in node.body
            ):
                yield node.name


def findings():
    """The classes of the package that say what they showed, and how each prints."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
                if "finding" in methods:
                    yield node.name, "__str__" in methods, [ast.unparse(b) for b in node.bases]


def test_what_has_a_finding_prints_in_words():
    silent = [name for name, own, bases in findings() if not own and "Result" not in bases]
    assert silent == ["Found"]  # the protocol


def test_each_class_that_prints_is_looked_at():
    known = [*PRINTED, *(name for names in NEVER_BELOW_0.values() for name in names)]
    assert sorted(known) == sorted(set(printing()))


@pytest.mark.parametrize("name", PRINTED)
def test_a_number_below_0_has_a_minus_as_wide_as_a_digit(name):
    result = PRINTED[name]()
    assert name in {each.__name__ for each in type(result).__mro__}
    text = str(result)
    assert re.search(r"−\d", text), text
    assert not re.search(r"(?<![\w-])-(\d|inf)", text), text


def test_no_sign_is_written_but_by_signed():
    """Of formats with a sign; what has none is seen by the table above."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
                form = ast.unparse(node.format_spec)
                assert "+" not in form, f"{path}:{node.lineno}: {form}, without core.report.signed"
