"""What a corruption is, and those of images with the severities they are tried at."""

from collections.abc import Callable
from typing import NamedTuple

from jax.typing import ArrayLike

from jaxcompress.core.checks import check_inside
from jaxcompress.core.types import Array, Key
from jaxcompress.validate.comparisons.corruptions.pictures import (
    blur,
    brightness,
    contrast,
    noise,
    occlusion,
    pixelate,
)

Corruption = Callable[[Key, Array, ArrayLike], Array]
"""(key, inputs, severity) -> inputs of the same shape and dtype."""


class Graded(NamedTuple):
    """A corruption and the severities it is tried at.

    Attributes:
      corruption: `(key, inputs, severity) -> inputs`.
      severities: from mild to strong.
    """

    corruption: Corruption
    severities: tuple[float, ...]


def images(scale: float = 1.0) -> dict[str, Graded]:
    """The corruptions of images, each at three severities.

    Args:
      scale: factor of all severities, in (0, 2]; 1 is made for images of some 30
        pixels, on which the strongest are hard for people too.

    Returns:
      By name, a `Graded` each.

    Raises:
      ValueError: the scale is out of range.

    Example:
      >>> list(jc.validate.comparisons.corruptions.images())
      ['noise', 'blur', 'contrast', 'brightness', 'occlusion', 'pixelate']
    """
    check_inside("images", "scale", scale, 0, 2)
    severities: dict[str, tuple[Corruption, tuple[float, ...]]] = {
        "noise": (noise, (0.1, 0.2, 0.4)),
        "blur": (blur, (0.5, 1.0, 1.5)),
        "contrast": (contrast, (0.25, 0.4, 0.5)),
        "brightness": (brightness, (0.1, 0.2, 0.4)),
        "occlusion": (occlusion, (0.05, 0.1, 0.2)),
        "pixelate": (pixelate, (1.0, 2.0, 3.0)),
    }
    return {
        name: Graded(corruption, tuple(float(scale) * each for each in grades))
        for name, (corruption, grades) in severities.items()
    }
