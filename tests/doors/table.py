"""What one room's table says: valid calls, and which of the wrong values are right."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.doors.surface import arguments
from tests.doors.values import NOTHING


class Doors(NamedTuple):
    """The public functions of one room.

    Attributes:
      given: by argument, what a valid call passes where the argument has no default.
      calls: by function, what its valid call passes instead, or beside.
      right: by argument, which values of `WRONG` are right: the library takes them, and
        what a model does with them is the model's.
      exceptions: by (function, argument), which are right instead.
      traced: functions that are traced and not run, since they compile long.
    """

    given: Mapping[str, Callable[[], Any]]
    calls: Mapping[str, Mapping[str, Callable[[], Any]]] = {}
    right: Mapping[str, frozenset[str]] = {}
    exceptions: Mapping[tuple[str, str], frozenset[str]] = {}
    traced: frozenset[str] = frozenset()

    def valid(self, name: str, function: Callable) -> dict[str, Any]:
        """The arguments of a valid call, each made anew."""
        required = [
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        ]
        makers = {each: self.given[each] for each in required if each in self.given}
        makers |= self.calls.get(name, {})
        return {each: make() for each, make in makers.items()}

    def accepted(self, name: str, function: Callable) -> dict[str, frozenset[str]]:
        """By argument the values of `WRONG` that are right, a default of None too."""
        parameters = inspect.signature(function).parameters
        found = {}
        for each in arguments(function):
            right = self.exceptions.get((name, each), self.right.get(each, NOTHING))
            optional = each in parameters and parameters[each].default is None
            found[each] = right | {"None"} if optional else right
        return found
