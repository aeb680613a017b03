"""Whether a model was calibrated on the examples it is judged by."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcompress.core.checks import check_number
from jaxcompress.core.digests import DIGEST_BYTES
from jaxcompress.core.messages import shown
from jaxcompress.validate.leakage import matches
from jaxcompress.validate.leakage.blocks import blocks, is_stream
from jaxcompress.validate.leakage.fingerprints import digests


@dataclasses.dataclass(frozen=True, eq=False)
class Shared:
    """Calibration data that may hold some of the examples a model is judged by.

    Pass it where `compare` takes calibration data, to say that an overlap is known.

    Args:
      examples: the calibration data.
      most: share of the judged examples that they may hold, in (0, 1].

    Example:
      >>> jc.validate.leakage.Shared(np.ones((2, 3)), most=0.05).most
      0.05
    """

    examples: Any
    most: float = 1.0

    def __post_init__(self) -> None:
        check_number("Shared", "most", self.most)
        if not 0 < self.most <= 1:
            raise ValueError(f"Shared(most={shown(self.most)}) must be in (0, 1].")
        _check_data("Shared(examples", self.examples)


def as_traced(array: np.ndarray) -> np.ndarray:
    """The array in the dtype that a model gets it in, float32 where JAX makes it so."""
    return array.astype(jnp.asarray(np.empty(0, array.dtype)).dtype, copy=False)


def check_calibration(caller: str, judged: np.ndarray, calibration: Any) -> int | None:
    """The number of judged examples that a model was calibrated on.

    Args:
      caller: the name that errors give.
      judged: fingerprints uint8 (n, 16) of the examples.
      calibration: None where it is not known, and so is the number; what `compare`
        takes.

    Raises:
      TypeError: `calibration` is no data.
      ValueError: there are no examples in it, or more shared ones than it allows.
    """
    if calibration is None:
        return None
    meant = isinstance(calibration, Shared)
    examples, most = (calibration.examples, calibration.most) if meant else (calibration, 0)
    _check_data(f"{caller}(calibration", examples)
    shared = calibrated_on(caller, judged, examples)
    if len(shared) > most * len(judged):
        places = ", ".join(map(str, shared[:3].tolist())) + ", …" * (len(shared) > 3)
        raise ValueError(
            f"{caller}(calibration) holds {len(shared)} of the {len(judged)} examples that the"
            f" models are judged by: {places}. A score on them is none on new data. Calibrate or"
            " evaluate on others, or pass calibration=leakage.Shared(examples) where it is meant."
        )
    return len(shared)


def calibrated_on(caller: str, judged: np.ndarray, calibration: Any) -> np.ndarray:
    """Indices (k,) of judged examples (n, 16) that are among the calibration data."""
    known = np.concatenate([np.empty((0, DIGEST_BYTES), np.uint8), *_digests(caller, calibration)])
    if not len(known):
        raise ValueError(f"{caller}(calibration) holds no examples; an iterator may be used up.")
    of_known, of_judged = matches.identities([known, judged])
    return np.flatnonzero(np.isin(of_judged, of_known))


def _digests(caller: str, calibration: Any) -> Iterator[np.ndarray]:
    """Digests of what the data may mean: the entries of a list or tuple are batches.

    A tuple is also read as the inputs of a model of several. To read what is not meant
    does no harm, since different examples have different digests.
    """
    if isinstance(calibration, list | tuple):
        for batch in calibration:
            yield from _digests(caller, batch) if isinstance(batch, tuple) else _read(caller, batch)
    if isinstance(calibration, list):
        return
    sizes = {np.shape(each)[:1] for each in calibration} if isinstance(calibration, tuple) else {()}
    if len(sizes) == 1:
        yield from _read(caller, calibration)


def _read(caller: str, examples: Any) -> Iterator[np.ndarray]:
    for block in blocks(caller, "calibration", examples):
        yield digests(block.examples, as_traced)


def _check_data(door: str, examples: Any) -> None:
    kinds = list | tuple | Mapping
    if not (hasattr(examples, "shape") or is_stream(examples) or isinstance(examples, kinds)):
        raise TypeError(
            f"{door}={shown(examples)}) must be the data that calibrated the model: an array, a"
            " tree of arrays, or batches of such."
        )
