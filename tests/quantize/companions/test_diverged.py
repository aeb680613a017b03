"""Weights that diverged are neither hidden in training nor shipped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.quantize import companions, formats, sharing

SPEC = formats.codebook(2, per="tensor")
TECHNIQUES = {
    "learned_rate": companions.learned_rate(),
    "random_codes": companions.random_codes(0.5, bits=4),
    "learned_codebooks": sharing.learned_codebooks(SPEC),
    "soft_sharing": sharing.soft_sharing(SPEC),
}


@pytest.mark.parametrize("name", TECHNIQUES)
def test_what_is_not_finite_is_seen_and_refused(name):
    technique, step = TECHNIQUES[name], jc.Step(key=jax.random.key(0))
    params = {"kernel": jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)), jnp.float32)}
    beside = technique.init(params)
    broken = {"kernel": params["kernel"].at[2, 1].set(jnp.nan)}
    seen = technique.view(broken, beside, step)["kernel"]
    assert np.argwhere(np.isnan(seen)).tolist() == [[2, 1]]
    message = rf"{name}: leaf 'kernel' holds 1 values that are not finite, the first at \(2, 1\)"
    with pytest.raises(ValueError, match=message):
        technique.freeze(broken, beside, step)
    with pytest.raises(ValueError, match=message):
        technique.init(broken)
