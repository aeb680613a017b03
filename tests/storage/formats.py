"""A quantized leaf of each format, with the sharings and kinds of scales in turn."""

import numpy as np

from jaxcompress import QTensor, Rules
from jaxcompress.quantize import quantize
from tests.quantize.formats.family import FORMATS

SHARED = ({}, {"group_size": 8}, {"block": (2, 4)}, {"per": "row"})
SCALES = ("float32", "bfloat16", "power_of_two", "e4m3", "codes")


def of_every_format() -> dict[str, QTensor]:
    """By the format's name, 32 by 32."""
    params = {
        case.name: np.random.default_rng(i).standard_normal((32, 32), np.float32)
        for i, case in enumerate(FORMATS)
    }
    rules = []
    for i, case in enumerate(FORMATS):
        shared = SHARED[i % len(SHARED)] | {"scales": SCALES[i % len(SCALES)]}
        rules.append((case.name, case.build(**({} if case.fixed else shared))))
    return quantize(params, Rules(rules))[0]
