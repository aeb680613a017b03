"""Valid values of the classes that users build, and which odd fields they accept."""

import numpy as np

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import BOOL, NONE, SIZE, TEXT

DOORS = Doors(
    given={
        "sparsity": lambda: 0.5,
        "pairs": lambda: {"*/kernel": 8},
        "levels": lambda: jc.quantize.int8().levels,
        "contracting": lambda: (0,),
        "output": lambda: (1,),
        "criterion": jc.prune.criteria.magnitude,
        "accuracy": lambda: 0.5,
        "captions": lambda: (),
        "caption": lambda: "",
        "columns": lambda: (jc.report.Column("model", "Model"),),
        "correct": lambda: np.ones(2, bool),
        "data": lambda: b"<svg/>",
        "description": lambda: "a cat",
        "heading": lambda: "Model",
        "high": lambda: 1.0,
        "key": lambda: "model",
        "label": lambda: "dense",
        "loss": lambda: np.ones(2, np.float32),
        "low": lambda: 0.0,
        "predictions": lambda: np.arange(2),
        "rows": lambda: (("dense",),),
        "size_bytes": lambda: 1000,
        "text": lambda: "Model",
        "title": lambda: "Sizes",
        "amount": lambda: jc.structure.amounts.fraction(0.5),
    },
    right={
        "pairs": frozenset(("dict",)),
        "damping": SIZE,
        "primitive": TEXT,
        "caption": TEXT,
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
        "grouped": BOOL,
        "select": NONE,
        "axes": NONE,
    },
)
