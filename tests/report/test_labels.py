"""Labels cover nothing; geometry against points tried one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxcompress.report import Point, sections
from jaxcompress.report.labels import Box, Mark, crosses, leader, placed
from jaxcompress.report.scatter import scatter

FRAME = Box(0, 0, 400, 300)
whole = st.integers(0, 12)
boxes = st.builds(lambda x, y, w, h: Box(x, y, x + w, y + h), whole, whole, whole, whole)


@given(st.lists(st.tuples(st.integers(20, 380), st.integers(80, 220)), min_size=1, max_size=9))
def test_labels_cover_neither_marks_nor_one_another(places):
    marks = [Mark(x, y, y - 30, y + 30, 5) for x, y in places]
    sizes = [(20 + 9 * (own % 5), 14) for own in range(len(marks))]
    lines = [Box(0, 149, 400, 151)]
    found = placed(marks, sizes, lines, FRAME)
    assert len(found.boxes) == len(marks)
    labels = [box for box in found.boxes if box is not None]
    assert labels
    for own, box in enumerate(labels):
        assert FRAME.holds(box)
        others = [*(mark.box for mark in marks), *lines, *labels[:own]]
        assert not any(box.overlaps(other) for other in others)
    drawn = zip(marks, found.boxes, strict=True)
    leaders = filter(None, (leader(mark, box) for mark, box in drawn if box))
    assert not any(crosses(line, box) for line in leaders for box in labels)


def test_a_point_alone_has_its_label_beside_it():
    mark = Mark(200, 150, 100, 200, 5)
    (box,) = placed([mark], [(60, 14)], [], FRAME).boxes
    assert box is not None
    assert box.low < mark.y < box.high
    assert 0 < box.left - mark.x < 15
    assert leader(mark, box) is None


def test_what_has_no_room_has_no_place():
    assert placed([Mark(200, 150, 100, 200, 5)], [(500, 14)], [], FRAME).boxes == (None,)


def test_a_far_label_has_a_line_from_the_nearest_end_of_the_interval():
    mark = Mark(100, 150, 100, 200, 5)
    assert leader(mark, Box(90, 260, 130, 274)) == ((100, 200), (100, 260))
    assert leader(mark, Box(150, 140, 190, 154)) == ((100, 147), (150, 147))


@given(st.tuples(whole, whole), st.tuples(whole, whole), boxes)
def test_a_line_enters_a_box_where_points_of_it_do(begin, end, box):
    steps = np.linspace(0, 1, 2001)[:, None]
    points = (1 - steps) * np.array(begin) + steps * np.array(end)
    inside = (points > np.array(box[:2])) & (points < np.array(box[2:]))
    if inside.all(axis=1).any():
        assert crosses((begin, end), box)
    # So thin a part may lie between two of the points that it is only seen here.
    elif crosses((begin, end), box):
        near = (points > np.array(box[:2]) - 0.01) & (points < np.array(box[2:]) + 0.01)
        assert near.all(axis=1).any()


def test_a_label_wider_than_the_picture_is_told_in_the_caption():
    wide = "distilled " * 20
    text = scatter(sections.Scatter((Point(wide, 1000, 0.9, 0.8, 1.0),)))
    assert f"Without room for a label: {wide}." in text
