"""Valid calls of what reports, and which odd values it accepts."""

import io
import pathlib
import tempfile

import numpy as np

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import TEXT
from tests.report import samples


def points() -> list[jc.report.Point]:
    return [jc.report.Point("dense", 1000, 0.9, 0.8, 1.0)]


def audits() -> dict:
    scores, members = np.arange(40.0), np.arange(40) < 20
    return {"loss": jc.validate.membership.audit(scores, members, rates=(0.1,))}


def diagnosis() -> jc.quantize.diagnosis.Diagnosis:
    params = {"kernel": np.ones((2, 2), np.float32)}
    return jc.quantize.diagnose(lambda p, x: x @ p["kernel"], params, params, [np.ones((1, 2))])


def breakdown() -> jc.storage.Breakdown:
    path = pathlib.Path(tempfile.gettempdir()) / "doors.safetensors"
    jc.storage.save(path, {"kernel": np.ones((2, 2), np.float32)})
    return jc.storage.breakdown(path)


def columns() -> list[jc.report.Column]:
    return [jc.report.Column("model", "Model")]


def rows() -> list[dict]:
    return [{"model": "dense"}]


DOORS = Doors(
    given={
        "title": lambda: "Sizes",
        "card": lambda: jc.validate.Card("Sizes"),
        "folder": tempfile.mkdtemp,
        "sections": lambda: [jc.report.sections.Heading("Sizes")],
        "points": points,
        "variants": lambda: [samples.original()],
        "audits": audits,
        "diagnosis": diagnosis,
        "breakdown": breakdown,
        "path": lambda: pathlib.Path(tempfile.gettempdir()) / "doors.svg",
        "columns": columns,
        "rows": rows,
        "shown": lambda: jc.report.table(rows(), columns=columns(), title="Sizes"),
        "file": io.StringIO,
    },
    right={"examples": TEXT, "title": TEXT, "name": TEXT, "folder": TEXT},
)
