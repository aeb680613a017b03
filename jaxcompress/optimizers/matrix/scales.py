"""What an orthogonalised momentum is multiplied by, from the shape of its matrix."""

import math
from collections.abc import Callable

from jaxcompress.core.checks import check_count
from jaxcompress.core.kinds import check_function

Scale = Callable[[int, int], float]
"""(rows, columns) of a matrix to what its orthogonalised momentum is multiplied by."""


def spectral_scale(rows: int, columns: int) -> float:
    """sqrt(max(1, rows / columns)): rates carry over from narrow to wide layers."""
    check_count("spectral_scale", "rows", rows)
    check_count("spectral_scale", "columns", columns)
    return math.sqrt(max(1.0, rows / columns))


def adam_scale(rows: int, columns: int) -> float:
    """0.2 · sqrt(max(rows, columns)): numbers as large as Adam's, so its rates fit.

    Source: Liu et al. 2025, arXiv:2502.16982, section 2.2.
    """
    check_count("adam_scale", "rows", rows)
    check_count("adam_scale", "columns", columns)
    return 0.2 * math.sqrt(max(rows, columns))


def checked_scale(caller: str, scale: Scale | None) -> Scale:
    """The scale, by default `spectral_scale`; raises a TypeError for no function."""
    scale = spectral_scale if scale is None else scale
    check_function(caller, "scale", scale, "For example spectral_scale.")
    return scale
