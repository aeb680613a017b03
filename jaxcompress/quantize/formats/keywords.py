"""The keyword arguments that all formats share, as the choices of a `QuantSpec`."""

from typing import Literal

from jaxcompress.core.checks import check_count
from jaxcompress.core.formats import sharing as choices

Sharing = Literal["tensor", "channel"]
"""What shares one scale."""


def sharing(caller: str, per: Sharing, group_size: int) -> choices.Sharing:
    """What shares a scale: groups where a size is given, else what `per` says.

    Raises:
      ValueError: `per` is unknown, or `group_size` is no count.
    """
    size = check_count(caller, "group_size", group_size, least=0)
    named = {"tensor": choices.Tensor(), "channel": choices.Channel()}
    if not isinstance(per, str) or per not in named:
        raise ValueError(
            f"{caller}(per={per!r}) must be 'tensor' or 'channel'. Groups are group_size=."
        )
    return choices.Group(size) if size else named[per]
