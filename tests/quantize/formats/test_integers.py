"""Formats: what each builds, one row per format, and what all share."""

import re
from typing import NamedTuple

import pytest

from jaxcompress.core.formats.sharing import Channel, Group
from jaxcompress.core.spec import QuantSpec
from jaxcompress.quantize import int4, int8
from jaxcompress.quantize.formats import uint4, uint8


class Case(NamedTuple):
    format: object
    bits: int
    lowest: int
    highest: int
    odd: bool


FORMATS = [
    Case(int8, 8, -127, 127, odd=True),
    Case(int4, 4, -7, 7, odd=True),
    Case(uint8, 8, 0, 255, odd=False),
    Case(uint4, 4, 0, 15, odd=False),
]
every_format = pytest.mark.parametrize("case", FORMATS, ids=lambda case: case.format.__name__)


@every_format
def test_codes(case):
    spec = case.format()
    assert (spec.bits, spec.lowest, spec.highest) == (case.bits, case.lowest, case.highest)
    assert spec.odd is case.odd
    assert spec.symmetric is case.odd
    assert spec.sharing == Channel()


@every_format
def test_json_gives_the_spec_back(case):
    for spec in (case.format(per="tensor"), case.format(group_size=32)):
        assert QuantSpec.from_json(spec.to_json()) == spec
        assert hash(QuantSpec.from_json(spec.to_json())) == hash(spec)


@every_format
def test_a_group_size_means_groups(case):
    assert case.format(group_size=16).sharing == Group(16)
    assert str(case.format(group_size=16)) == f"{case.format.__name__} in groups of 16"


@every_format
def test_bad_arguments(case):
    name = case.format.__name__
    with pytest.raises(ValueError, match=rf"{name}\(group_size=-1\) must be at least 0"):
        case.format(group_size=-1)
    for per in ("group", None, ["channel"]):
        with pytest.raises(ValueError, match=re.escape(f"{name}(per={per!r}) must be 'tensor' or")):
            case.format(per=per)
