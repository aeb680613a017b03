"""Formats: what each builds, and what it takes and refuses."""

import inspect
import json
import re

import numpy as np
import pytest

from jaxcompress.core.formats.sharing import Block, Channel, Group, Row, Tensor
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize import formats
from tests.quantize.formats.family import FORMATS, every_format

every_open_format = pytest.mark.parametrize(
    "case", [case for case in FORMATS if not case.fixed], ids=lambda case: case.name
)


def test_no_format_is_missing():
    exported = {
        name
        for name, value in vars(formats).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    assert exported == {case.name for case in FORMATS}


@every_format
def test_what_a_format_is(case):
    spec = case.build()
    assert (spec.odd, spec.has_zero, spec.bits) == (case.odd, case.zero, case.bits)
    assert spec.symmetric == (not case.name.startswith("uint"))
    assert spec.highest - spec.lowest + 1 == len(case.levels)
    assert spec.levels.ends == pytest.approx((case.levels[0], case.levels[-1]))
    if not case.fixed:
        assert spec.sharing == Channel()


@every_format
def test_json_gives_the_spec_back(case):
    shared = {} if case.fixed else {"group_size": 32, "scales": "e4m3"}
    for spec in (case.build(), case.build(**shared)):
        again = QuantSpec.from_json(json.loads(json.dumps(spec.to_json())))
        assert again == spec
        assert hash(again) == hash(spec)


SHARED = [
    ({"per": "tensor"}, Tensor(), "per tensor"),
    ({"per": "row"}, Row(), "per row"),
    ({"group_size": 16}, Group(16), "in groups of 16"),
    ({"per": "tensor", "group_size": np.int8(16)}, Group(16), "in groups of 16"),
    ({"block": (2, 16)}, Block(2, 16), "in blocks of 2 by 16"),
    ({"block": None}, Channel(), "per channel"),
]
STORED = {
    "float32": "",
    "bfloat16": ", bfloat16 scales",
    "power_of_two": ", power-of-two scales",
    "e4m3": ", e4m3 scales under a float32",
    "codes": ", 8-bit scales under a float32",
}


@every_open_format
def test_the_shared_keywords(case):
    name = case.build().name
    for keywords, sharing, text in SHARED:
        spec = case.build(**keywords)
        assert spec.sharing == sharing
        assert str(spec) == f"{name} {text}"
    for scales, text in STORED.items():
        assert str(case.build(scales=scales)) == f"{name} per channel{text}"


REFUSED = [
    ({"group_size": -1}, ValueError, "(group_size=-1) must be at least 0"),
    ({"group_size": 2.0}, ValueError, "(group_size=2.0) must be at least 0, and an int"),
    ({"per": "group"}, ValueError, "(per='group') must be one of 'tensor', 'channel', 'row'"),
    ({"per": None}, ValueError, "(per=None) must be one of"),
    ({"per": ["row"]}, ValueError, "(per=['row']) must be one of"),
    ({"block": (2, 0)}, ValueError, "(block=0) must be at least 1"),
    ({"block": 16}, ValueError, "(block=16) must be a pair (rows, columns)"),
    ({"block": (2, 2, 2)}, ValueError, "(block=(2, 2, 2)) must be a pair"),
    ({"block": (2, 2), "group_size": 2}, ValueError, "(group_size=2, block=(2, 2)): choose one"),
    ({"scales": "float64"}, ValueError, "(scales='float64') must be one of 'float32', 'bfloat16'"),
    ({"scale": "float32"}, TypeError, "() has no argument 'scale', only block, group_size, per"),
]


@every_open_format
def test_keywords_that_are_refused(case):
    for keywords, error, message in REFUSED:
        with pytest.raises(error, match=re.escape(f"{case.name}{message}")):
            case.build(**keywords)


OWN = [
    (lambda: formats.fixed_point(1, 2), "fixed_point(bits=1) must be at least 2"),
    (lambda: formats.fixed_point(9, 2), "fixed_point(bits=9) must be from 2 to 8"),
    (lambda: formats.fixed_point(4, 2.5), "fixed_point(fraction_bits=2.5) must be an int"),
    (lambda: formats.power_of_two(9), "power_of_two(bits=9) must be from 2 to 8"),
    (lambda: formats.power_of_two(1), "power_of_two(bits=1) must be at least 2"),
    (lambda: formats.codebook(1), "codebook(bits=1) must be at least 2"),
    (lambda: formats.table("mine", (1, 2)), "must have levels on both sides of zero"),
    (
        lambda: QuantSpec(formats.uint4().levels, scales=formats.fixed_point(4, 2).scales),
        "has fixed steps around a zero point that follows the data",
    ),
]


@pytest.mark.parametrize(("build", "message"), OWN)
def test_own_arguments_that_are_refused(build, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


def test_int4_and_int8_stand_at_the_top_too():
    from jaxcompress import quantize

    assert quantize.int8 is formats.int8
    assert quantize.int4 is formats.int4
    assert formats.ternary() == formats.int2()
