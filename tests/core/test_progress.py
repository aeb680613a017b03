"""A bar is drawn on a terminal alone, and where it is asked to wait, after a while."""

import io
import sys

import pytest

from jaxcompress.core import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch) -> Terminal:
    """Standard error as a terminal; pytest takes it back before a test begins."""
    opened = Terminal()
    monkeypatch.setattr(sys, "stderr", opened)
    monkeypatch.setenv("TERM", "xterm")
    return opened


@pytest.fixture
def clock(monkeypatch):
    times = {"now": 0.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: times["now"])
    return times


def test_a_bar_is_drawn_at_once(monkeypatch):
    opened = terminal(monkeypatch)
    with progress.bar("folds", 2) as advance:
        advance(1, "loss 0.5")
    assert "folds" in opened.getvalue()


def test_what_ends_early_draws_nothing(monkeypatch, clock):
    opened = terminal(monkeypatch)
    with progress.bar("saving", 2, after=1.0) as advance:
        clock["now"] = 0.9
        advance(1, "")
        advance(2, "")
    assert opened.getvalue() == ""


def test_what_takes_longer_is_drawn(monkeypatch, clock):
    opened = terminal(monkeypatch)
    with progress.bar("saving", 3, after=1.0) as advance:
        advance(1, "")
        assert opened.getvalue() == ""
        clock["now"] = 1.0
        advance(2, "90 MB")
    assert "saving" in opened.getvalue()


@pytest.mark.parametrize("title", ["", "saving"])
def test_nothing_is_drawn_elsewhere(monkeypatch, title, clock):
    opened = io.StringIO()
    monkeypatch.setattr(sys, "stderr", opened)
    with progress.bar(title, 2) as advance:
        clock["now"] = 9.0
        advance(1, "loss")
    assert opened.getvalue() == ""
