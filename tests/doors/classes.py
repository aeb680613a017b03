"""Valid values of the classes that users build, and which odd fields they accept."""

import jaxcompress as jc
from tests.doors.table import Doors
from tests.doors.values import NONE, SIZE, TEXT

DOORS = Doors(
    given={
        "sparsity": lambda: 0.5,
        "pairs": lambda: {"*/kernel": 8},
        "levels": lambda: jc.quantize.int8().levels,
        "contracting": lambda: (0,),
        "output": lambda: (1,),
        "criterion": jc.prune.criteria.magnitude,
        "amount": lambda: jc.structure.amounts.fraction(0.5),
    },
    right={
        "pairs": frozenset(("dict",)),
        "damping": SIZE,
        "primitive": TEXT,
        "left_out": TEXT,
        "assumed": frozenset(("True",)),
        "select": NONE,
        "axes": NONE,
    },
)
