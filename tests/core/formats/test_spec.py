"""Specs: valid when built, hashable, and the same after JSON."""

import dataclasses
import json
import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.formats.grids import Grid
from jaxcompress.core.formats.integers import Integers
from jaxcompress.core.formats.sharing import Channel, Group, Tensor
from jaxcompress.core.qtensor import QTensor
from jaxcompress.core.spec import QuantSpec, from_version_1
from tests.inputs import DENSE

INT4 = Integers(4, -7, 7, symmetric=True)
SPECS = [
    (QuantSpec(Integers(8, -127, 127, symmetric=True)), True, "int8 per channel"),
    (QuantSpec(Integers(8, -128, 127, symmetric=True)), False, "int8 from -128 to 127 per channel"),
    (QuantSpec(Integers(8, 0, 255, symmetric=False), Tensor()), False, "uint8 per tensor"),
    (QuantSpec(INT4, Group(64)), True, "int4 in groups of 64"),
    (QuantSpec(Integers(4, -8, 7, symmetric=False)), False, "uint4 from -8 to 7 per channel"),
    (QuantSpec(Integers(4, -7, 7, symmetric=False)), False, "uint4 from -7 to 7 per channel"),
    (QuantSpec(Integers(2, -1, 1, symmetric=True)), True, "int2 per channel"),
    (QuantSpec(Integers(3, -3, 3, symmetric=True)), True, "int3 per channel"),
    (QuantSpec(Integers(7, 0, 127, symmetric=False)), False, "uint7 per channel"),
    (QuantSpec(Integers(1, 0, 1, symmetric=False)), False, "uint1 per channel"),
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
        spec.sharing = Tensor()
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.levels.bits = 2


def test_specs_differ_by_every_field():
    assert len({spec for spec, _, _ in SPECS}) == len(SPECS)


GOOD = SPECS[0][0].to_json()
WRONG = [
    ("levels", {"bits": 0}, "Integers(bits=0) must be from 1 to 8"),
    ("levels", {"bits": 16}, "Integers(bits=16) must be"),
    ("levels", {"lowest": 5, "highest": 5}, "Integers(lowest=5, highest=5) must be an increasing"),
    ("levels", {"lowest": 7, "highest": -7}, "Integers(lowest=7, highest=-7) must be an increasi"),
    ("levels", {"lowest": -128, "highest": 128}, "range that 8 bits can hold"),
    ("levels", {"bits": 4}, "range that 4 bits can hold"),
    ("levels", {"lowest": 0, "highest": 255}, "symmetric=True) must have codes on both sides of"),
    ("levels", {"lowest": -255, "highest": 0}, "symmetric=True) must have codes on both sides of"),
    ("levels", {"lowest": -1.5, "highest": 1.5}, "Integers(lowest=-1.5) must be an int"),
    ("levels", {"highest": 127.0}, "Integers(highest=127.0) must be an int"),
    ("levels", {"highest": float("nan")}, "Integers(highest=nan) must be an int"),
    ("levels", {"highest": None}, "Integers(highest=None) must be an int"),
    ("levels", {"bits": 8.0}, "Integers(bits=8.0) must be an int"),
    ("levels", {"bits": True, "lowest": 0, "highest": 1}, "Integers(bits=True) must be an int"),
    ("levels", {"lowest": -55, "highest": 200}, "has codes outside of [-128, 127]"),
    ("levels", {"lowest": 1, "highest": 255, "symmetric": False}, "outside of [-128, 127]"),
    ("levels", {"lowest": -255, "highest": -120, "symmetric": False}, "outside of [-128, 127]"),
    ("levels", {"symmetric": 1}, "Integers(symmetric=1) must be True or False"),
    ("levels", {"symmetric": "yes"}, "Integers(symmetric='yes') must be True or False"),
    ("levels", {"kind": "floating"}, "levels={'kind': 'floating'"),
    ("levels", {"method": "round"}, "must have exactly the fields ['bits', 'highest', 'lowest'"),
    ("sharing", {"kind": "everything"}, "sharing={'kind': 'everything'} must have a kind of"),
    ("sharing", {"kind": ["group"]}, "must have a kind of tensor, channel, group"),
    ("sharing", {"kind": "group"}, "must have exactly the fields ['size'] beside its kind"),
    ("sharing", {"size": 8}, "must have exactly the fields [] beside its kind"),
    ("sharing", {"kind": "group", "size": 0}, "Group(size=0) must be at least 1"),
    ("sharing", {"kind": "group", "size": 64.0}, "Group(size=64.0) must be an int"),
    ("sharing", {"kind": "group", "size": False}, "Group(size=False) must be an int"),
    ("scales", {"kind": "float64"}, "scales={'kind': 'float64'} must have a kind of float32"),
]


@pytest.mark.parametrize(("choice", "change", "message"), WRONG)
def test_a_wrong_spec_is_refused(choice, change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        QuantSpec.from_json(GOOD | {choice: GOOD[choice] | change})


@pytest.mark.parametrize("fields", [{}, {"levels": 8}, GOOD | {"name": "int8"}, None, [GOOD]])
def test_missing_and_unknown_fields_are_refused(fields):
    with pytest.raises(ValueError, match="must have exactly the fields levels, sharing and scales"):
        QuantSpec.from_json(fields)


@pytest.mark.parametrize("part", [8, None, "channel", {"kind": 3}])
def test_a_part_that_is_no_choice_is_refused(part):
    for field in GOOD:
        with pytest.raises(ValueError, match=rf"from_json: {field}=.* must have a kind of"):
            QuantSpec.from_json(GOOD | {field: part})
    with pytest.raises(ValueError, match=r"QuantSpec\(sharing=.*\) must be one of Tensor, Channel"):
        QuantSpec(INT4, part)


def test_numpy_numbers_are_numbers():
    given = QuantSpec(Integers(*np.array([4, -7, 7]), np.bool_(True)), Group(np.int16(64)))
    expected = QuantSpec(INT4, Group(64))
    assert given == expected
    assert json.dumps(given.to_json()) == json.dumps(expected.to_json())


@every_spec
def test_every_code_is_held(spec, odd, text):
    """The extremes survive the dtype that codes have, packed and unpacked."""
    codes = jnp.array([[spec.lowest, spec.highest, spec.lowest]])
    zero_point = None if spec.symmetric else jnp.full((1, 1), spec.lowest)
    spec = dataclasses.replace(spec, sharing=Channel())
    grid = Grid(jnp.ones((1, 1)), zero_point=zero_point)
    leaf = QTensor.from_codes(codes, grid, spec=spec, dtype=jnp.float32, axes=DENSE)
    assert leaf.unpacked_codes.dtype == spec.code_dtype
    np.testing.assert_array_equal(leaf.unpacked_codes, codes)


@pytest.mark.parametrize(
    ("bits", "bytes_of_16"), [(1, 2), (2, 4), (3, 8), (4, 8), (5, 16), (6, 16), (7, 16), (8, 16)]
)
def test_codes_are_packed_in_the_next_larger_of_four_widths(bits, bytes_of_16):
    spec = QuantSpec(Integers(bits, 0, 2**bits - 1, symmetric=False))
    codes = jnp.arange(16).reshape(1, 16) % 2**bits
    grid = Grid(jnp.ones((1, 1)), zero_point=jnp.zeros((1, 1), jnp.int32))
    leaf = QTensor.from_codes(codes, grid, spec=spec, dtype=jnp.float32, axes=DENSE)
    assert leaf.codes.nbytes == bytes_of_16
    np.testing.assert_array_equal(leaf.unpacked_codes, codes)


VERSION_1 = {
    "name": "int4",
    "bits": 4,
    "lowest": -7,
    "highest": 7,
    "symmetric": True,
    "per": "group",
    "group_size": 64,
}
READ = [
    ({}, QuantSpec(INT4, Group(64))),
    ({"per": "channel", "group_size": 0, "name": "mine"}, QuantSpec(INT4)),
    ({"per": "tensor", "group_size": 0}, QuantSpec(INT4, Tensor())),
    (
        {"bits": 8, "lowest": 0, "highest": 255, "symmetric": False, "group_size": 2},
        QuantSpec(Integers(8, 0, 255, symmetric=False), Group(2)),
    ),
]
UNREAD = [
    ({"bits": 9}, r"Integers\(bits=9\) must be from 1 to 8"),
    ({"per": "row"}, "per='row' with group_size=64 must be"),
    ({"per": "channel"}, "per='channel' with group_size=64 must be"),
    ({"per": ["channel"], "group_size": 0}, r"per=\['channel'\] with group_size=0 must be"),
    ({"group_size": 0}, r"Group\(size=0\) must be at least 1"),
    ({"group_size": None}, r"Group\(size=None\) must be an int"),
    ({"rounding": "nearest"}, r"must have exactly the fields \['bits', 'group_size'"),
]


@pytest.mark.parametrize(("change", "spec"), READ)
def test_specs_of_version_1_are_read(change, spec):
    assert from_version_1(VERSION_1 | change) == spec


@pytest.mark.parametrize(("change", "message"), UNREAD)
def test_what_is_no_spec_of_version_1_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        from_version_1(VERSION_1 | change)
