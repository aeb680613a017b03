"""Specs: valid when built, hashable, and the same after JSON."""

import dataclasses
import json
import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec
from tests.inputs import DENSE

SPECS = [
    (QuantSpec("int8", 8, -127, 127, symmetric=True), True, "int8 per channel"),
    (QuantSpec("full int8", 8, -128, 127, symmetric=True), False, "full int8 per channel"),
    (QuantSpec("uint8", 8, 0, 255, symmetric=False, per="tensor"), False, "uint8 per tensor"),
    (
        QuantSpec("int4", 4, -7, 7, symmetric=True, per="group", group_size=64),
        True,
        "int4 in groups of 64",
    ),
    (QuantSpec("shifted", 4, -8, 7, symmetric=False), False, "shifted per channel"),
    (QuantSpec("balanced", 4, -7, 7, symmetric=False), False, "balanced per channel"),
    (QuantSpec("ternary", 2, -1, 1, symmetric=True), True, "ternary per channel"),
    (QuantSpec("binary", 1, 0, 1, symmetric=False), False, "binary per channel"),
]
every_spec = pytest.mark.parametrize(("spec", "odd", "text"), SPECS, ids=[row[2] for row in SPECS])


@every_spec
def test_json_gives_the_spec_back(spec, odd, text):
    again = QuantSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert hash(again) == hash(spec)


@every_spec
def test_odd_and_text(spec, odd, text):
    assert spec.odd is odd
    assert str(spec) == text


@every_spec
def test_a_spec_cannot_change(spec, odd, text):
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.bits = 2


def test_specs_differ_by_every_field():
    assert len({spec for spec, _, _ in SPECS}) == len(SPECS)


GOOD = SPECS[0][0].to_json()
WRONG = [
    ({"bits": 3}, "QuantSpec(bits=3) must be 1, 2, 4 or 8"),
    ({"bits": 16}, "QuantSpec(bits=16) must be"),
    ({"lowest": 5, "highest": 5}, "QuantSpec(lowest=5, highest=5) must be an increasing range"),
    ({"lowest": 7, "highest": -7}, "QuantSpec(lowest=7, highest=-7) must be an increasing"),
    ({"lowest": -128, "highest": 128}, "range that 8 bits can hold"),
    ({"bits": 4}, "range that 4 bits can hold"),
    ({"lowest": 0, "highest": 255}, "symmetric=True) must have codes on both sides of zero"),
    ({"lowest": -255, "highest": 0}, "symmetric=True) must have codes on both sides of zero"),
    ({"lowest": -1.5, "highest": 1.5, "bits": 2}, "QuantSpec(lowest=-1.5) must be an int"),
    ({"highest": 127.0}, "QuantSpec(highest=127.0) must be an int"),
    ({"highest": float("nan")}, "QuantSpec(highest=nan) must be an int"),
    ({"highest": None}, "QuantSpec(highest=None) must be an int"),
    ({"bits": 8.0}, "QuantSpec(bits=8.0) must be an int"),
    ({"bits": True, "highest": 1, "lowest": 0}, "QuantSpec(bits=True) must be an int"),
    ({"group_size": 64.0, "per": "group"}, "QuantSpec(group_size=64.0) must be an int"),
    ({"group_size": False}, "QuantSpec(group_size=False) must be an int"),
    ({"lowest": -55, "highest": 200}, "has codes outside of [-128, 127], which int8 holds"),
    ({"lowest": 1, "highest": 255, "symmetric": False}, "outside of [-128, 127]"),
    ({"lowest": -135, "highest": -120, "bits": 4, "symmetric": False}, "outside of [-128, 127]"),
    ({"symmetric": 1}, "QuantSpec(symmetric=1) must be True or False"),
    ({"symmetric": "yes"}, "QuantSpec(symmetric='yes') must be True or False"),
    ({"name": ""}, "QuantSpec(name='') must be a text"),
    ({"name": None}, "QuantSpec(name=None) must be a text"),
    ({"per": ["group"]}, "QuantSpec(per=['group']) must be"),
    ({"per": "row"}, "QuantSpec(per='row') must be 'tensor', 'channel' or 'group'"),
    ({"per": "group"}, "QuantSpec(per='group', group_size=0): a group needs a group_size above 0"),
    ({"per": "group", "group_size": -1}, "group_size=-1): a group needs"),
    ({"group_size": 8}, "QuantSpec(per='channel', group_size=8): a group needs"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_wrong_spec_is_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        QuantSpec.from_json(GOOD | change)


def test_asymmetric_codes_may_lie_on_one_side():
    QuantSpec("uint8", 8, 0, 255, symmetric=False)


@pytest.mark.parametrize("fields", [{}, {"bits": 8}, GOOD | {"method": "round"}])
def test_missing_and_unknown_fields_are_refused(fields):
    with pytest.raises(ValueError, match=r"must have exactly the fields \['bits', 'group_size'"):
        QuantSpec.from_json(fields)


def test_numpy_numbers_are_numbers():
    given = QuantSpec("int4", *np.array([4, -7, 7]), np.bool_(True), "group", np.int16(64))
    expected = QuantSpec("int4", 4, -7, 7, symmetric=True, per="group", group_size=64)
    assert given == expected
    assert json.dumps(given.to_json()) == json.dumps(expected.to_json())


@every_spec
def test_every_code_is_held(spec, odd, text):
    """The extremes survive the dtype that codes have, packed and unpacked."""
    codes = jnp.array([[spec.lowest, spec.highest, spec.lowest]])
    zero_point = None if spec.symmetric else jnp.full((1, 1), spec.lowest)
    spec = dataclasses.replace(spec, per="channel", group_size=0)
    leaf = QTensor.from_codes(
        codes, jnp.ones((1, 1)), zero_point, spec=spec, dtype=jnp.float32, axes=DENSE
    )
    assert leaf.unpacked_codes.dtype == spec.code_dtype
    np.testing.assert_array_equal(leaf.unpacked_codes, codes)
