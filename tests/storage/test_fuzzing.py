"""Thousands of mutated files: each is refused in one sentence, or is sound.

`benchmarks.file_fuzz` reads a hundred thousand.
"""

import pathlib
import re
import time

import numpy as np
import pytest

from jaxcompress.storage import describe
from jaxcompress.storage.coders import CODERS
from jaxcompress.storage.container.archive import VERSIONS
from jaxcompress.storage.container.forms import FORMS
from tests.storage.fuzzing import campaign
from tests.storage.fuzzing.corpus import CORPUS
from tests.storage.fuzzing.files import put_together, taken_apart

needs_limits = pytest.mark.skipif(
    not pathlib.Path("/proc/self/statm").exists(), reason="limits memory as Linux does"
)


@needs_limits
def test_no_mutated_file_is_believed_or_costs_more_than_it_may(tmp_path):
    figures = campaign.run(0, 2000, tmp_path, traced=20)
    assert figures["failed"] == {}
    assert figures["outcomes"].keys() <= {"accepted", "refused", "needs a template"}
    assert min(figures["outcomes"]["accepted"], figures["outcomes"]["refused"]) > 300


def test_every_coder_kind_and_version_is_mutated(tmp_path):
    coders, kinds, versions = set(), set(), set()
    for row in CORPUS:
        (tmp_path / "file").write_bytes(row.content())
        report = describe(tmp_path / "file")
        versions.add(report.format_version)
        coders |= {name for leaf in report.leaves for name in leaf.coder.split(", ")}
        kinds |= {layout[0] for layout in taken_apart(row.content()).texts.get("layouts", [])}
    assert versions == VERSIONS.keys()
    assert coders == {coder.name for coder in CODERS}
    assert kinds >= {form.kind for form in FORMS}


@pytest.mark.parametrize("row", CORPUS, ids=lambda row: row.name)
def test_a_file_without_mutation_is_accepted(tmp_path, row):
    (tmp_path / "file").write_bytes(put_together(taken_apart(row.content())))
    assert campaign.outcome(tmp_path / "file")[0] == "accepted"


def raising(path):
    raise IndexError(path)


def slow(path):
    begin = time.thread_time()
    while time.thread_time() < begin + campaign.LONGEST_SECONDS:
        pass
    return describe(path)


def large(path):
    np.zeros(2 * campaign.CONSTANT, np.uint8)
    return describe(path)


FAULTS = {
    "foreign exception": (raising, "IndexError"),
    "long": (slow, "took 1.* s"),
    "large": (large, "took [0-9]+ bytes of"),
    "disagreeing": (lambda path: None, "AssertionError"),
}


@pytest.mark.parametrize(("door", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(tmp_path, monkeypatch, door, fault):
    monkeypatch.setattr(campaign, "describe", door)
    monkeypatch.setattr(campaign, "content", lambda seed: CORPUS[-1].content()[: -seed or None])
    results = {seed: campaign.measured(tmp_path / "file", seed, 1) for seed in (0, 1)}
    failed = campaign.summed(results)["failed"]
    assert failed
    assert all(re.match(fault, text) for text in failed.values())


@needs_limits
def test_a_process_that_dies_is_a_fault_and_another_goes_on(tmp_path):
    figures = campaign.run(-1, 2, tmp_path, traced=1)  # no random numbers for seed -1
    assert list(figures["failed"]) == ["-1"]
    assert sum(figures["outcomes"].values()) == 2
