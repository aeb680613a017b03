"""Valid calls of `validate.metrics`, and which odd values it accepts."""

from tests.doors.table import Doors
from tests.doors.values import BOOL, NONE, TEXT, WHOLE

DOORS = Doors(
    given={
        "function": lambda: lambda outputs, targets: outputs[:, 0],
        "name": lambda: "figure",
        "higher_is_better": lambda: True,
        "k": lambda: 2,
    },
    right={"name": TEXT, "higher_is_better": BOOL, "ignore": WHOLE | NONE},
)
