"""Codes that follow the trellis, and codes as words."""

import numpy as np

from jaxcompress.core.trellis import NEXT
from jaxcompress.storage.coders.words import Layout, Words


def on_trellis(
    shape: tuple[int, ...], highest: int, seed: int = 0, share: float = 0.5
) -> np.ndarray:
    """Codes (outputs, …inputs), each a level of its state, of small indices."""
    random = np.random.default_rng(seed)
    indices = np.where(
        random.random(shape) < share, 0, random.integers(-highest, highest + 1, shape)
    )
    codes, lines = np.zeros_like(indices), indices.reshape(shape[0], -1)
    for line, found in zip(lines, codes.reshape(lines.shape), strict=True):
        state = 0
        for j, index in enumerate(line):
            found[j] = 2 * index - (state & 1) * np.sign(index)
            state = NEXT[state][index & 1]
    return codes


def of_codes(codes: np.ndarray, bits: int, inputs_last: bool = True) -> Words:
    """Signed codes as words."""
    words = (codes % 2**bits).astype(np.uint8).reshape(-1)
    return Words(words, Layout(bits, codes.shape, inputs_last))
