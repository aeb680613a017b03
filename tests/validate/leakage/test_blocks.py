"""Sets are read alike in memory and in streams, whatever they are made of."""

import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.validate import leakage
from jaxcompress.validate.leakage import blocks as module
from jaxcompress.validate.leakage.blocks import blocks, gather

X = np.arange(60, dtype=np.float32).reshape(20, 3)
TREE = {"x": X, "name": [f"text {i}" for i in range(20)]}


def read(examples):
    found = list(blocks("check", "train", examples))
    starts = [block.start for block in found]
    whole = jax.tree.map(lambda *parts: np.concatenate(parts), *[each.examples for each in found])
    return starts, whole


def in_chunks():
    for start, stop in ((0, 7), (7, 13), (13, 20)):
        yield {name: leaf[start:stop] for name, leaf in TREE.items()}


class Loader:
    def __iter__(self):
        return in_chunks()


@pytest.mark.parametrize("examples", [TREE, in_chunks, in_chunks(), Loader()], ids=range(4))
def test_a_stream_reads_as_the_set_in_memory(examples):
    _, whole = read(examples)
    np.testing.assert_array_equal(whole["x"], X)
    assert whole["name"].tolist() == TREE["name"]


def test_blocks_are_small_and_start_where_they_lie(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 72)
    starts, whole = read((X, jnp.arange(20)))
    assert starts == [0, 4, 8, 12, 16]  # 12 bytes of X and 4 of the labels, 72 in a block
    np.testing.assert_array_equal(whole[0], X)
    starts, _ = read(lambda: iter([X[:7], X[:0], X[7:]]))
    assert starts == [0, 6, 7, 13, 19]


@pytest.mark.parametrize("examples", [TREE, in_chunks, Loader()], ids=range(3))
def test_gathers_chosen_examples(examples):
    chosen = gather("check", "train", examples, np.array([0, 6, 7, 19]))
    np.testing.assert_array_equal(chosen["x"], X[[0, 6, 7, 19]])
    assert chosen["name"].tolist() == ["text 0", "text 6", "text 7", "text 19"]


BAD = [
    (TypeError, r"check\(train='text'\) is no set", "text"),
    (TypeError, r"check\(train=3\) is no set", 3),
    (TypeError, r"check\(train=3\) is no set", (3, 4)),
    (TypeError, r"holds no arrays", ()),
    (TypeError, r"has no first axis", np.float32(3)),
    (TypeError, r"check\(train of dtype object\) holds Python objects", [{"a": 1}, None]),
    (TypeError, r"has fields; pass a dict", np.zeros(3, [("a", np.int32)])),
    (ValueError, r"check\(train\): its examples differ in shape", [[1, 2], [3]]),
    (ValueError, r"check\(train\): its arrays disagree .*\[19, 20\]", (X, X[1:])),
    (ValueError, r"\(train of shape \(20, 0\)\): its examples are empty", X[:, :0]),
    (TypeError, r"check\(train=3\) is no set", lambda: iter([X, 3])),
]


@pytest.mark.parametrize(("error", "message", "examples"), BAD)
def test_refuses_what_is_no_set(error, message, examples):
    with pytest.raises(error, match=message):
        list(blocks("check", "train", examples))


def test_refuses_traced_examples():
    with pytest.raises(TypeError, match=r"check\(examples=\.\.\.\) reads .* 'train' is traced"):
        jax.jit(lambda x: list(blocks("check", "train", x)))(X)


@pytest.mark.parametrize(
    "looked_for",
    [
        leakage.exact(),
        leakage.groups(lambda x: x[:, 0]),
        leakage.times(lambda x: x[:, 1]),
        leakage.features(lambda x: x[:, :2], lambda x: x[:, 2]),
        leakage.near_rows(),
        leakage.near_vectors(lambda x: x),
    ],
    ids=["exact", "groups", "times", "features", "near_rows", "near_vectors"],
)
def test_no_check_keeps_the_blocks_it_has_seen(looked_for):
    alive: list[weakref.ref] = []

    def chunks():
        for i in range(8):
            assert sum(each() is not None for each in alive) <= 2
            chunk = np.random.default_rng(i).normal(size=(30, 3))
            alive.append(weakref.ref(chunk))
            yield chunk

    leakage.check({"train": chunks, "test": X.astype(float)}, [looked_for])
