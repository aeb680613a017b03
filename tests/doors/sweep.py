"""Calling a public function with one wrong argument, and saying how that ended."""

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from tests.doors.surface import arguments
from tests.doors.values import WRONG


class Ending(NamedTuple):
    """How a call with one wrong argument ended.

    Attributes:
      argument: what was wrong.
      value: a name of `WRONG`.
      how: "refused" with a message that names the function and the argument, or
        "accepted", or an exception that says less.
    """

    argument: str
    value: str
    how: str


def called(function: Callable, given: Mapping[str, Any]) -> Any:
    """The function's result with its arguments given by name; `*inputs` is a tuple."""
    keywords, rest = dict(given), _variadic(function)
    if rest is None:
        return function(**keywords)
    names = list(inspect.signature(function).parameters)
    before = [keywords.pop(name) for name in names[: names.index(rest)]]
    return function(*before, *keywords.pop(rest, ()), **keywords)


def traced(function: Callable, given: Mapping[str, Any]) -> None:
    """As `called`, without computing: for what compiles long, and reads no value."""
    jax.eval_shape(lambda: (called(function, given), None)[1])


def endings(
    name: str,
    function: Callable,
    valid: Mapping[str, Any],
    right: Mapping[str, Collection[str]],
    call: Callable[[Callable, Mapping[str, Any]], Any] = called,
) -> Iterator[Ending]:
    """Each argument of a valid call replaced by each value that is not right for it."""
    for argument in arguments(function):
        makers = {label: make for label, make in WRONG.items() if label not in right[argument]}
        for label, make in makers.items():
            wrong = (make(),) if argument == _variadic(function) else make()
            run = functools.partial(call, function, {**valid, argument: wrong})
            yield Ending(argument, label, _ending(name, argument, run))


def _variadic(function: Callable) -> str | None:
    parameters = inspect.signature(function).parameters.values()
    return next((each.name for each in parameters if each.kind is each.VAR_POSITIONAL), None)


def _ending(name: str, argument: str, run: Callable[[], Any]) -> str:
    try:
        run()
    except (TypeError, ValueError) as error:
        said = str(error)
        if name.rpartition(".")[2] in said and argument in said:
            return "refused"
        return f"{type(error).__name__}: {' '.join(said.split())[:120]}"
    except Exception as error:  # what a wrong argument must not end in
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return "accepted"
