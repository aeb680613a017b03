"""Every public function, each argument, eleven mostly wrong values.

A wrong value raises a ValueError or a TypeError that names the function and the
argument. What is accepted instead stands in the table of the room, with its kind.
"""

import importlib

import pytest

from tests.doors import surface
from tests.doors.sweep import called, endings, traced
from tests.doors.table import Doors

ROOMS: dict[str, Doors] = {
    room: importlib.import_module(f"tests.doors.{room}").DOORS
    for room in (*surface.ROOMS, surface.CLASSES, surface.TOP)
}
CALLS = [
    pytest.param(doors, name, function, id=name)
    for room, doors in ROOMS.items()
    for name, function in surface.functions(room).items()
]


@pytest.mark.parametrize(("doors", "name", "function"), CALLS)
def test_a_wrong_argument_is_refused_by_name(doors, name, function, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where a file goes whose path is "text"
    call = traced if name in doors.traced else called
    valid, right = doors.valid(name, function), doors.accepted(name, function)
    call(function, valid)
    wrong = [each for each in endings(name, function, valid, right, call) if each.how != "refused"]
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("room", ROOMS)
def test_a_table_speaks_of_nothing_else(room):
    doors, functions = ROOMS[room], surface.functions(room)
    taken = {(name, each) for name in functions for each in surface.arguments(functions[name])}
    assert set(doors.calls) | doors.traced <= set(functions)
    assert set(doors.exceptions) <= taken
    assert set(doors.right) | set(doors.given) <= {argument for _, argument in taken}
