"""Valid calls of `validate.privacy`, and which odd values it accepts."""

from tests.doors.table import Doors

DOORS = Doors(given={})
