"""The front against brute force; the drawing is deterministic and leaves no trace."""

import itertools
import json
import subprocess
import sys
import xml.etree.ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcompress import report
from jaxcompress.report import Point, front

POINTS = [
    Point("dense", 2_400_000, 0.97, 0.96, 0.98),
    Point("int8", 620_000, 0.97, 0.96, 0.98),
    Point("costs $1 & <more>", 610_000, 0.95, 0.94, 0.96),
    Point("int4", 310_000, 0.96, 0.95, 1.0),
]


def dominates(one: Point, two: Point) -> bool:
    no_worse = one.size_bytes <= two.size_bytes and one.accuracy >= two.accuracy
    better = one.size_bytes < two.size_bytes or one.accuracy > two.accuracy
    return no_worse and better


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), max_size=12))
def test_the_front_is_what_nothing_dominates(figures):
    points = [
        Point(str(index), size, score / 6, score / 6, score / 6)
        for index, (size, score) in enumerate(figures)
    ]
    kept = {point.label for point in points if not any(dominates(other, point) for other in points)}
    found = front(points)
    assert {point.label for point in found} == kept
    assert len(found) == len(kept)
    assert all(a.size_bytes <= b.size_bytes for a, b in itertools.pairwise(found))


def test_a_file_of_either_kind_is_written_and_returned(tmp_path):
    png, svg = tmp_path / "pareto.png", tmp_path / "pareto.svg"
    assert report.pareto(POINTS, png, title="All") == png.read_bytes()
    assert report.pareto(POINTS, str(svg), title="All") == svg.read_bytes()
    assert png.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    root = xml.etree.ElementTree.fromstring(svg.read_bytes())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    # Width and height are the first two big-endian words of a PNG's header.
    assert int.from_bytes(png.read_bytes()[16:20], "big") == 1360


@pytest.mark.parametrize("draw", [report.pareto_svg, report.pareto_png])
def test_the_same_points_give_the_same_bytes(draw):
    assert draw(POINTS) == draw(POINTS)
    assert draw(POINTS) != draw(POINTS[:3])


@pytest.mark.parametrize("points", [POINTS[:1], [Point("perfect", 1, 1.0, 1.0, 1.0)]])
def test_one_point_is_enough(points):
    assert report.pareto_svg(points)


def test_matplotlib_is_left_as_it_was():
    program = """
import json, sys
from jaxcompress import report
before = "matplotlib" in sys.modules
import matplotlib
def settings():  # Asking for the backend would choose one.
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
matplotlib.rcParams["axes.facecolor"] = "red"
mine = settings()
point = report.Point("dense", 1000, 0.9, 0.8, 1.0)
report.pareto_svg([point])
print(json.dumps([before, "matplotlib.pyplot" in sys.modules, settings() == mine]))
"""
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert json.loads(shown.stdout) == [False, False, True]


def test_a_missing_matplotlib_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install jaxcompress\[plots\]"):
        report.pareto_svg(POINTS)


def test_what_cannot_be_drawn_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"pareto_png\(points\) is empty"):
        report.pareto_png([])
    with pytest.raises(ValueError, match=r"pareto\(path='.*plot.gif'\) must end in .svg or .png"):
        report.pareto(POINTS, tmp_path / "plot.gif")
    with pytest.raises(ValueError, match=r"Point\(size_bytes=0\) must be above 0"):
        Point("empty", 0, 0.5, 0.4, 0.6)
    with pytest.raises(ValueError, match=r"Point\('wide', accuracy=0.5, low=0.6, high=0.7\)"):
        Point("wide", 1, 0.5, 0.6, 0.7)
