"""Valid values of the classes that users build, and which odd fields they accept."""

import numpy as np

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import BOOL, ENTRIES, FUNCTION, NONE, NUMBER, SIZE, TEXT

LOSS = jc.validate.metrics.loss(lambda outputs, targets: outputs)

DOORS = Doors(
    given={
        "sparsity": lambda: 0.5,
        "examples": lambda: np.ones((2, 3)),
        "pairs": lambda: {"*/kernel": 8},
        "levels": lambda: jc.quantize.int8().levels,
        "contracting": lambda: (0,),
        "output": lambda: (1,),
        "criterion": jc.prune.criteria.magnitude,
        "accuracy": lambda: 0.5,
        "captions": lambda: (),
        "caption": lambda: "",
        "columns": lambda: (jc.report.Column("model", "Model"),),
        "data": lambda: b"<svg/>",
        "description": lambda: "a cat",
        "heading": lambda: "Model",
        "high": lambda: 1.0,
        "key": lambda: "model",
        "label": lambda: "dense",
        "n": lambda: 3,
        "statement": lambda: "Was seen.",
        "topic": lambda: "subgroups",
        "value": lambda: 0.5,
        "low": lambda: 0.0,
        "fingerprints": lambda: jc.validate.leakage.fingerprints(np.arange(2)),
        "metric": lambda: LOSS,
        "name": lambda: "loss",
        "per_example": lambda: lambda outputs, targets: outputs,
        "scores": lambda: {"loss": jc.validate.Score(LOSS, np.ones(2))},
        "statistics": lambda: np.ones(2),
        "values": lambda: lambda statistics: statistics,
        "rows": lambda: (("dense",),),
        "size_bytes": lambda: 1000,
        "text": lambda: "Model",
        "title": lambda: "Sizes",
        "amount": lambda: jc.structure.amounts.fraction(0.5),
    },
    right={
        "pairs": frozenset(("dict",)),
        # An array without rows to hash is refused where it is read.
        "examples": FUNCTION | ENTRIES | {"dict"},
        "damping": SIZE,
        "primitive": TEXT,
        "about": TEXT,
        "caption": TEXT,
        "date": TEXT,
        "origin": TEXT,
        "statement": TEXT,
        "value": NUMBER,
        "description": TEXT,
        "format": TEXT,
        "heading": TEXT,
        "key": TEXT,
        "label": TEXT,
        "text": TEXT,
        "title": TEXT,
        "size_bytes": SIZE,
        "left_out": TEXT,
        "assumed": BOOL,
        "higher_is_better": BOOL,
        "name": TEXT,
        "needs": TEXT,
        "values": FUNCTION,
        "grouped": BOOL,
        "select": NONE,
        "axes": NONE,
    },
)
