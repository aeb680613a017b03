"""A folder of results: which files are read, and what each holds.

    report.json                  the figures that `jaxcompress demo` wrote
    card.json                    a card that `report.save_card` wrote
    NAME.json                    what `to_json` of an Evaluation or a Comparison gave
    NAME.safetensors, an index   a model; its evaluation is the JSON of the same name

Nothing else is read, and no folder inside of it.
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxcompress.storage import Breakdown, FileError, breakdown
from jaxcompress.storage.container.index import ENDING
from jaxcompress.storage.foreign import foreign
from jaxcompress.validate import Card, Evaluation
from jaxcompress.validate.evaluate import CLASSIFIER

DEMO, CARD = "report.json", "card.json"
_DEMO_FIELDS = {"models", "sensitivities", "leaves", "times", "identical_in_a_fresh_process"}
_COMPARISON_FIELDS = {"accuracy_difference", "accuracy_interval", "mcnemar_p", "n", "verdict"}


class Folder(NamedTuple):
    """What was found in a folder.

    Attributes:
      path: of the folder.
      demo: the demo's figures; empty where there are none.
      card: of `card.json`; None where there is none.
      evaluations: by the name of the file without its ending.
      scores: by name of the file and of the metric, the value alone.
      comparisons: the fields of each, by name of the file.
      models: where the bytes of each model file go, by name of the file.
      left_out: why a file was not read, by its name.
    """

    path: pathlib.Path
    demo: dict[str, Any]
    card: Card | None
    evaluations: dict[str, Evaluation]
    scores: dict[tuple[str, str], float]
    comparisons: dict[str, dict[str, Any]]
    models: dict[str, Breakdown]
    left_out: dict[str, str]

    @property
    def page(self) -> pathlib.Path:
        """Where the page goes; that of the demo, which has more on it, stays."""
        return self.path / ("results.html" if self.demo else "report.html")

    @property
    def read(self) -> list[str]:
        """The names of the files that were read."""
        single = [DEMO] * bool(self.demo) + [CARD] * (self.card is not None)
        evaluated = {name for name, _ in self.scores}
        return sorted(
            [*single, *(f"{name}.json" for name in evaluated), *self.comparisons, *self.models]
        )


def read(path: pathlib.Path) -> Folder:
    """Reads a folder.

    Raises:
      FileNotFoundError, NotADirectoryError: it is none.
      ValueError: there is nothing to report in it.
    """
    if not path.exists():
        raise FileNotFoundError(f"report: there is no folder {str(path)!r}. Check the path.")
    if not path.is_dir():
        raise NotADirectoryError(
            f"report: {str(path)!r} is a file. Name the folder that holds the results."
        )
    found = Folder(path, {}, None, {}, {}, {}, {}, {})
    records: dict[str, Any] = {}
    for each in sorted(path.glob("*.json")):
        try:
            records[each.name] = _json(each)
            if not each.name.endswith(ENDING):
                found = _with_record(found, each.name, records[each.name])
        except _NotAsWrittenError as error:
            found.left_out[each.name] = str(error)
    for each in _model_files(path, records):
        try:
            found.models[each.name] = _sizes(each)
        except FileError as error:
            found.left_out[each.name] = str(error)
    if not found.read:
        reasons = [f" {name}: {reason}" for name, reason in found.left_out.items()]
        raise ValueError(
            f"report: nothing in {str(path)!r} can be reported. It reads {DEMO} of the demo, "
            f"{CARD}, evaluations and comparisons as JSON, and safetensors files.{''.join(reasons)}"
        )
    return found


class _NotAsWrittenError(ValueError):
    """A file is not JSON, or other than this library writes it."""


def _with_record(found: Folder, name: str, record: Any) -> Folder:
    """What was found, with one more JSON file."""
    fields = set(record) if isinstance(record, dict) else set()
    if name == DEMO and fields >= _DEMO_FIELDS:
        return found._replace(demo=record)
    if name == CARD:
        return found._replace(card=_of(Card.from_json, record))
    stem = name.removesuffix(".json")
    if fields >= {"scores", "fingerprints", "target_fingerprints"}:
        _add_evaluation(found, stem, record)
    elif fields >= _COMPARISON_FIELDS:
        found.comparisons[name] = _of(_comparison, record)
    else:
        found.left_out[name] = "it holds no results that are known."
    return found


def _add_evaluation(found: Folder, stem: str, record: dict[str, Any]) -> None:
    evaluation, values = _of(_evaluation, record)
    found.evaluations[stem] = evaluation
    found.scores.update({(stem, metric): value for metric, value in values.items()})


def _evaluation(record: dict[str, Any]) -> tuple[Evaluation, dict[str, float]]:
    """The evaluation, and the values of its metrics by name."""
    known = [metric for metric in CLASSIFIER if metric.name in record["scores"]]
    values = {metric: float(score["value"]) for metric, score in record["scores"].items()}
    return Evaluation.from_json(record, known), values


def _comparison(record: dict[str, Any]) -> dict[str, Any]:
    """The fields of a comparison, of which none is missing."""
    if lacking := sorted(name for name in _COMPARISON_FIELDS if record[name] is None):
        raise ValueError(f"{lacking[0]!r} is null")
    return record


def _of(reader: Callable[[Any], Any], record: Any) -> Any:
    try:
        return reader(record)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _NotAsWrittenError(f"it is not as it was written: {error}.") from error


def _json(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _NotAsWrittenError(f"it is not JSON: {error}.") from error


def _model_files(path: pathlib.Path, records: dict[str, Any]) -> list[pathlib.Path]:
    """Files and indices; what an index names is counted with it."""
    indices = [name for name in records if name.endswith(ENDING)]
    inside = set()
    for name in indices:
        named = records[name].get("weight_map") if isinstance(records[name], dict) else None
        inside |= set(named.values()) if isinstance(named, dict) else set()
    single = [each for each in sorted(path.glob("*.safetensors")) if each.name not in inside]
    return [*single, *(path / name for name in indices)]


def _sizes(path: pathlib.Path) -> Breakdown:
    found = foreign("report", path)
    return breakdown(path) if found is None else found.breakdown()
