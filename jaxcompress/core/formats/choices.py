"""Small frozen values that know their kind, as JSON and back; and their fields."""

import dataclasses
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Protocol


class Choice(Protocol):
    """A frozen dataclass of plain values; `kind` tells it from others in JSON."""

    kind: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


def to_json(choice: Choice) -> dict[str, Any]:
    """The kind and the fields of a choice, as plain values."""
    return {"kind": choice.kind, **dataclasses.asdict(choice)}


def from_json(argument: str, fields: dict[str, Any], kinds: Sequence[type[Any]]):
    """The choice that `to_json` described.

    Args:
      argument: what to call it in errors.
      fields: what `to_json` gave.
      kinds: the classes it may be of.

    Raises:
      ValueError: the kind is unknown, or a field is missing, unknown or out of range.
    """
    by_kind = {kind.kind: kind for kind in kinds}
    given = dict(fields) if isinstance(fields, dict) else {}
    kind = given.pop("kind", None)
    if not isinstance(kind, str) or kind not in by_kind:
        raise ValueError(
            f"QuantSpec.from_json: {argument}={fields} must have a kind of {', '.join(by_kind)}."
        )
    known = {field.name for field in dataclasses.fields(by_kind[kind])}
    if set(given) != known:
        raise ValueError(
            f"QuantSpec.from_json: {argument}={fields} must have exactly the fields "
            f"{sorted(known)} beside its kind."
        )
    return by_kind[kind](**given)


def set_whole(choice: Any, *fields: str) -> None:
    """Makes the named fields ints, while a frozen dataclass is built.

    A NumPy integer too becomes an int, so that values compare and JSON takes them.
    """
    for field in fields:
        value = getattr(choice, field)
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ValueError(f"{type(choice).__name__}({field}={value!r}) must be an int.")
        object.__setattr__(choice, field, int(value))
