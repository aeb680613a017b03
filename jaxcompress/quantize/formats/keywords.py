"""The keyword arguments that all formats share, as the choices of a `QuantSpec`."""

from typing import Any, Literal, TypedDict

from jaxcompress.core.checks import check_count
from jaxcompress.core.formats import scales as storages
from jaxcompress.core.formats import sharing
from jaxcompress.core.spec import Levels, QuantSpec

SCALES: dict[str, storages.Scales] = {
    "float32": storages.Float32(),
    "bfloat16": storages.BFloat16(),
    "power_of_two": storages.PowerOfTwo(),
    "e4m3": storages.E4M3(),
    "codes": storages.Codes(),
}
SHARED: dict[str, sharing.Sharing] = {
    "tensor": sharing.Tensor(),
    "channel": sharing.Channel(),
    "row": sharing.Row(),
}


class Keywords(TypedDict, total=False):
    """What shares a scale, and how scales are stored.

    Attributes:
      per: what shares one scale, an output "channel" (the default), the whole "tensor"
        or a "row" along the last contracting axis.
      group_size: numbers per scale along the contracting axes, the last fastest: a part
        of the last axis, or whole indices of the one before. Above 0 it takes
        the place of `per`.
      block: (rows, columns) of outputs and contracting entries that share one scale. It
        takes the place of `per`, and does not go with `group_size`.
      scales: "float32" (the default), "bfloat16", "power_of_two" (a byte, rounded up),
        "e4m3" (a byte under one float32 for the leaf, as NVFP4 has) or "codes" (a byte
        under one float32 for a row of groups: double quantization).
    """

    per: Literal["tensor", "channel", "row"]
    group_size: int
    block: tuple[int, int] | None
    scales: Literal["float32", "bfloat16", "power_of_two", "e4m3", "codes"]


def spec(caller: str, levels: Levels, keywords: Keywords) -> QuantSpec:
    """The spec of these levels and keyword arguments.

    Args:
      caller: the function to name in errors.
      levels: what one code stands for.
      keywords: those of `Keywords` that were given.

    Raises:
      TypeError: a keyword is unknown.
      ValueError: a value is unknown, no count, or both a group and a block are given.
    """
    unknown = set(keywords) - Keywords.__optional_keys__
    if unknown:
        raise TypeError(
            f"{caller}() has no argument {sorted(unknown)[0]!r}, only "
            f"{', '.join(sorted(Keywords.__optional_keys__))}."
        )
    stored = _named(caller, "scales", keywords.get("scales", "float32"), SCALES)
    return QuantSpec(levels, _sharing(caller, keywords), stored)


def _sharing(caller: str, keywords: Keywords) -> sharing.Sharing:
    shared = _named(caller, "per", keywords.get("per", "channel"), SHARED)
    size = check_count(caller, "group_size", keywords.get("group_size", 0), least=0)
    block = keywords.get("block")
    if block is None:
        return sharing.Group(size) if size else shared
    if size:
        raise ValueError(f"{caller}(group_size={size}, block={block}): choose one of them.")
    if not isinstance(block, tuple) or len(block) != 2:
        raise ValueError(f"{caller}(block={block!r}) must be a pair (rows, columns).")
    return sharing.Block(*(check_count(caller, "block", count) for count in block))


def _named(caller: str, argument: str, name: str, choices: dict[Any, Any]):
    if not isinstance(name, str) or name not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{caller}({argument}={name!r}) must be one of {known}.")
    return choices[name]
