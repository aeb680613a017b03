"""A folder of results is there whole or not at all."""

import pathlib

import pytest

from jaxcompress.demo.folder import whole


@pytest.mark.parametrize("out", [".", "out", "deep/er/out"])
def test_files_come_together_and_others_stay(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    place = pathlib.Path(out)
    (tmp_path / "mine.txt").write_text("mine")
    with whole(place) as folder:
        (folder / "a").write_text("new")
        assert not (place / "a").exists()
    assert (place / "a").read_text() == "new"
    with whole(place) as folder:
        (folder / "a").write_text("newer")
    assert (place / "a").read_text() == "newer"
    assert (tmp_path / "mine.txt").read_text() == "mine"
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"a", "mine.txt"}


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("out", ["out", "deep/er/out", "old"])
def test_an_error_leaves_nothing(tmp_path, out, error):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a").write_text("old")

    def fail():
        with whole(tmp_path / out) as folder:
            (folder / "a").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert [path.name for path in tmp_path.rglob("*")] == ["old", "a"]
    assert (tmp_path / "old" / "a").read_text() == "old"


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    for out in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with (
            pytest.raises(NotADirectoryError, match=r"is a file\. Name another folder"),
            whole(out),
        ):
            pass
