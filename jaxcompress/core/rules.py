"""Rules: values by leaf name, for specs, sparsities, learning rates and observers."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeVar

from jaxcompress.core.kinds import check_kind
from jaxcompress.core.messages import literally, shown

Value = TypeVar("Value")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, init=False)
class Rules(Generic[Value]):
    """Ordered (pattern, value) pairs over leaf names; the first match wins.

    Patterns are shell-style, match the whole name, and `*` also crosses "/"; of a leaf
    named with "[", "?" or "*" take `glob.escape(name)`. A name that no rule matches has
    no value.

    Raises:
      TypeError: `pairs` are no mapping from str and no pairs with a str.
      ValueError: there is none.

    Example:
      >>> rules = jc.Rules({"head/*": 8, "*/kernel": 4})
      >>> rules.assign(["head/kernel", "body/kernel", "body/bias"])
      {'head/kernel': 8, 'body/kernel': 4}
    """

    pairs: tuple[tuple[str, Any], ...]

    def __init__(self, pairs: Mapping[str, Value] | Iterable[tuple[str, Value]]):
        listed = pairs.items() if isinstance(pairs, Mapping) else pairs
        many = isinstance(listed, Iterable) and not hasattr(listed, "shape")
        ordered: tuple[Any, ...] = tuple(listed) if many else (listed,)
        for pair in ordered:
            is_pair = isinstance(pair, tuple | list) and len(pair) == 2
            if not (is_pair and isinstance(pair[0], str)):
                raise TypeError(
                    f"Rules(pairs={shown(pairs)}) must be a dict from pattern to value, or "
                    f"(pattern, value) pairs; {shown(pair)} is none."
                )
        if not ordered:
            raise ValueError("Rules(pairs) needs at least one (pattern, value) pair.")
        object.__setattr__(self, "pairs", tuple(map(tuple, ordered)))

    def assign(self, names: Iterable[str]) -> dict[str, Value]:
        """Gives the value of each name that a rule matches.

        Args:
          names: leaf or site names.

        Returns:
          Dict from name to value, in the order of `names`; names without a rule are
          left out.

        Raises:
          ValueError: there are names, and a rule is the first match of none of them.
        """
        names = list(names)
        first = {name: self._first(name) for name in names}
        used = set(first.values())
        for index, (pattern, _) in enumerate(self.pairs):
            if names and index not in used:
                raise ValueError(self._unused(pattern, names))
        return {name: self.pairs[index][1] for name, index in first.items() if index is not None}

    def map(self, function: Callable[[Value], Result]) -> "Rules[Result]":
        """Applies a function to the value of each rule."""
        return Rules((pattern, function(value)) for pattern, value in self.pairs)

    def by_name(self, name: str) -> bool:
        """Whether a rule other than "*" matches the name."""
        index = self._first(name)
        return index is not None and self.pairs[index][0] != "*"

    def _first(self, name: str) -> int | None:
        return next(
            (i for i, (pattern, _) in enumerate(self.pairs) if fnmatchcase(name, pattern)), None
        )

    def _unused(self, pattern: str, names: list[str]) -> str:
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if matched:
            return (
                f"Rules: {pattern!r} is never used, earlier rules take {', '.join(matched)}. "
                "Move it up or drop it."
            )
        mend = literally(pattern, names)
        return f"Rules: {pattern!r} matches nothing.{mend} Names are: {', '.join(names)}."


def as_rules(value: "Rules[Value] | Value") -> Rules[Value]:
    """Gives rules as they are, and any other value as a rule for every name."""
    return value if isinstance(value, Rules) else Rules((("*", value),))


def check_rules(caller: str, argument: str, value: object, kind: type[Any], mend: str) -> None:
    """Raises a TypeError unless value is of the class, or `Rules` of such.

    Example:
      >>> check_rules("quantize", "spec", {"*": 8}, jc.QuantSpec, "Call a format.")
      Traceback (most recent call last):
      TypeError: quantize(spec={'*': 8}) must be of type QuantSpec, not dict. Call a
      format. Did you mean Rules({...})?
    """
    for _, each in as_rules(value).pairs:
        meant = " Did you mean Rules({...})?" if isinstance(each, Mapping) else ""
        check_kind(caller, argument, each, kind, mend + meant)
