"""What every optimizer is run on."""

import numpy as np


def random_params(dtype=np.float32, rows=3) -> dict:
    """A kernel and a bias."""
    random = np.random.default_rng(0)
    return {
        "kernel": random.standard_normal((rows, 2)).astype(dtype),
        "bias": random.standard_normal(2).astype(dtype),
    }


def random_grads(steps, params) -> dict:
    """Of both signs, between 0.5 and 2, with a leading axis of steps."""
    random = np.random.default_rng(1)
    return {
        name: (
            random.uniform(0.5, 2.0, (steps, *leaf.shape))
            * random.choice([-1, 1], (steps, *leaf.shape))
        ).astype(leaf.dtype)
        for name, leaf in sorted(params.items())
    }
