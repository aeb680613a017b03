"""The picture, the table and the page of a file's bytes."""

import numpy as np
import pytest

from jaxcompress import report, storage


@pytest.fixture
def breakdown(tmp_path):
    tree = {f"layer {i} <&>": np.eye(10 + i, dtype=np.float32) for i in range(40)}
    storage.save(tmp_path / "model.safetensors", tree)
    return storage.breakdown(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["sizes.svg", "sizes.png"])
def test_the_same_breakdown_gives_the_same_picture(tmp_path, breakdown, name):
    pytest.importorskip("matplotlib")
    data = report.file_sizes(breakdown, tmp_path / name, title="Bytes")
    assert data == (tmp_path / name).read_bytes()
    assert data == report.file_sizes(breakdown, tmp_path / name, title="Bytes")
    if name.endswith("svg"):
        assert b"10 smaller leaves" in data
        assert b"layer 39" in data


def test_the_table_has_every_byte(breakdown):
    shown = report.file_table(breakdown)
    position = [column.key for column in shown.columns].index("size_bytes")
    *leaves, total, header, whole = [row[position] for row in shown.rows]
    assert sum(leaves) == total
    assert total + header == whole == breakdown.size_bytes


def test_the_page_has_a_bar_for_each_large_leaf_and_every_leaf_in_numbers(breakdown):
    text = report.file_page(breakdown)
    assert text == report.file_page(breakdown)
    each = f"{breakdown.bits_per_weight:.3g} bits for each".replace(" ", "\N{NO-BREAK SPACE}", 1)
    assert each in text
    bars, _, numbers = text.partition("<details>")
    assert bars.count('<td class="bar"') == 30 + 2
    assert "10 smaller leaves" in bars
    assert "layer 0 &lt;&amp;&gt;" not in bars
    assert "layer 0 &lt;&amp;&gt;" in numbers


def test_a_tree_without_numbers_has_a_page(tmp_path):
    storage.save(tmp_path / "file", {})
    text = report.file_page(storage.breakdown(tmp_path / "file"))
    assert "for 0\N{NO-BREAK SPACE}weights</p>" in text


def test_what_is_no_breakdown_is_refused(tmp_path, breakdown):
    with pytest.raises(TypeError, match=r"file_sizes\(breakdown=1\) must be of type Breakdown"):
        report.file_sizes(1, tmp_path / "a.svg")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must end in \.svg or \.png"):
        report.file_sizes(breakdown, tmp_path / "a.pdf")
