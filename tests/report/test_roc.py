"""The drawing of audits is deterministic, and refuses what it cannot draw."""

import numpy as np
import pytest

from jaxcompress import report
from jaxcompress.validate.membership import audit

MEMBERS = np.arange(400) % 2 == 0
NOISE = np.random.default_rng(0).normal(size=400)
AUDITS = {
    "LiRA": audit(NOISE + 2 * MEMBERS, MEMBERS, rates=(0.01,)),
    "costs $1 & <more>": audit(NOISE, MEMBERS, rates=(0.01,)),
}


def test_the_same_audits_give_the_same_file(tmp_path):
    for name in ("roc.svg", "roc.png"):
        data = report.roc(AUDITS, tmp_path / name, title="All")
        assert (
            data
            == (tmp_path / name).read_bytes()
            == report.roc(AUDITS, tmp_path / name, title="All")
        )
        assert data != report.roc({"LiRA": AUDITS["LiRA"]}, tmp_path / name, title="All")


@pytest.mark.parametrize(
    ("audits", "path", "error", "message"),
    [
        ({}, "roc.svg", ValueError, r"roc\(audits\) is empty"),
        (AUDITS, "roc.pdf", ValueError, r"roc\(path='roc.pdf'\) must end in .svg or .png"),
        ({"LiRA": 1}, "roc.svg", TypeError, r"roc\(audits\['LiRA'\]=1\) must be of type Audit"),
    ],
)
def test_what_cannot_be_drawn_is_refused(audits, path, error, message):
    with pytest.raises(error, match=message):
        report.roc(audits, path)
