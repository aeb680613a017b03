"""Near duplicates of texts, rows and vectors against comparing all with all."""

import itertools
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.validate import leakage
from jaxcompress.validate.leakage import (
    check,
    near_rows,
    near_texts,
    near_vectors,
    samples,
    tables,
    vectors,
)
from jaxcompress.validate.leakage.shingles import band_keys, jaccard, signature

WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in ("n", "st", "rm")]


def text(words: int, seed: int) -> list[str]:
    return random.Random(seed).choices(WORDS, k=words)


DOCUMENTS = [" ".join(text(40, seed)) for seed in range(30)]


def changed(document: str, seed: int, words: int) -> str:
    chosen = random.Random(seed)
    parts = document.split()
    for place in chosen.sample(range(len(parts)), words):
        parts[place] = chosen.choice(WORDS)
    return " ".join(parts)


def runs_of(document: str, length: int) -> set[str]:
    return {document[i : i + length] for i in range(max(1, len(document) - length + 1))}


@pytest.mark.parametrize("length", [1, 3, 5])
def test_the_index_is_that_of_python_sets(length):
    shingles = leakage.characters(length)
    documents = [*DOCUMENTS[:4], changed(DOCUMENTS[0], 0, 3), "", "a", "ab"]
    for one, other in itertools.combinations_with_replacement(documents, 2):
        a, b = runs_of(one, length), runs_of(other, length)
        found = jaccard(shingles(one), shingles(other))
        expected = len(a & b) / len(a | b)
        assert found == (pytest.approx(expected) if one and other else float(one == other))


def test_runs_of_words_are_counted_as_sets():
    shingles = leakage.word_runs(2)
    one, other = ["a", "b", "c", "a", "b"], ["b", "c", "a", "d"]
    a, b = ({tuple(each[i : i + 2]) for i in range(len(each) - 1)} for each in (one, other))
    assert jaccard(shingles(" ".join(one)), shingles(" ".join(other))) == len(a & b) / len(a | b)


def test_signatures_agree_as_often_as_the_index_says():
    # 128 hashes: three standard deviations of a share are at most 3 · sqrt(0.25 / 128).
    shingles = leakage.characters(4)
    for words in (1, 4, 10):
        one, other = shingles(DOCUMENTS[0]), shingles(changed(DOCUMENTS[0], words, words))
        agree = np.mean(signature(one) == signature(other))
        assert abs(agree - jaccard(one, other)) < 3 * np.sqrt(0.25 / 128)


GOLDEN = ([541221245872060483, 1256466618357312985], [17673391661150346146, 5650416134343497506])


def test_hashes_are_the_same_on_every_machine():
    runs = leakage.characters(3)("to be, or not to be")
    keys = band_keys(signature(runs)[None], 4)
    assert runs[:2].tolist() == GOLDEN[0]
    assert keys[0, :2].tolist() == GOLDEN[1]


def test_texts_are_those_found_by_comparing_all():
    train, test = DOCUMENTS[:20], [changed(DOCUMENTS[i], i, i % 8) for i in range(5, 30)]
    test[3] = test[3].upper().replace(" ", "\n ")
    sets = {"train": train, "test": [each.encode() for each in test]}
    found = check(sets, [near_texts(least=0.6)], pairs=leakage.between_sets).overlaps[0]
    index = np.array(
        [
            [len(a & b) / len(a | b) for a in (runs_of(one, 5) for one in train)]
            for b in (runs_of(" ".join(other.lower().split()), 5) for other in test)
        ]
    )
    expected = [[int(row.argmax()), j] for j, row in enumerate(index) if row.max() >= 0.6]
    assert 8 < len(expected) < 25
    assert found.pairs.tolist() == expected
    np.testing.assert_allclose(found.scores, index.max(axis=1)[found.pairs[:, 1]])


RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(80, 7)) * 10.0 ** np.arange(-3, 4)
TABLE[::9, 2] = np.nan


def rows_by_hand(first, second, columns, tolerance):
    low, high = np.nanpercentile(np.concatenate([first, second]), [5, 95], axis=0)
    scale = (high - low) / 3.29
    pairs = []
    for j, b in enumerate(second):
        agree = (np.abs(first - b) <= tolerance * scale) | (np.isnan(first) & np.isnan(b))
        share = agree.mean(axis=1)
        share[np.sum(~agree, axis=1) > columns] = -1
        if share.max() >= 0:
            pairs.append([int(share.argmax()), j])
    return pairs


@pytest.mark.parametrize("columns", [0, 1, 2])
def test_rows_are_those_found_by_comparing_all(columns):
    test = TABLE[20:60].copy()
    test[:10] += 0.001 * np.nanstd(TABLE, axis=0) * RNG.normal(size=(10, 7))
    test[np.arange(10, 20), RNG.integers(0, 7, 10)] = 9e4
    test[np.arange(20, 30), 1] = test[np.arange(20, 30), 5] = 9e4
    test[30:] += np.nanstd(TABLE, axis=0)
    sets = {"train": TABLE, "test": test}
    found = check(sets, [near_rows(columns=columns)], pairs=leakage.between_sets).overlaps[0]
    assert found.pairs.tolist() == rows_by_hand(TABLE, test, columns, 0.01)
    assert found.count == (10, 20, 30)[columns]


def test_tables_of_columns_and_in_chunks():
    columns = {"a": TABLE[:, :3], "b": TABLE[:, 3].astype(np.float32), "c": np.arange(80)}
    later = {name: column[40:] for name, column in columns.items()} | {"c": np.arange(40)}
    in_chunks = lambda: ({n: c[i : i + 30] for n, c in columns.items()} for i in (0, 30, 60))  # noqa: E731
    found = check({"train": in_chunks, "test": later}, [near_rows()]).overlaps[1]
    assert found.pairs.tolist() == [[40 + i, i] for i in range(40)]
    np.testing.assert_allclose(found.scores, 4 / 5)


def test_deviations_ignore_outliers_and_nan():
    column = np.concatenate([RNG.normal(3, 2, 4000), [np.nan, -999, 1e9]])
    constant, rare = np.full(4003, 5.0), np.zeros(4003)
    rare[:5] = 1
    centre, scale = tables.spread(np.stack([column, constant, rare, np.full(4003, np.nan)], axis=1))
    # Standard errors: 0.04 of the median of 4,000 numbers, 0.05 of the deviation.
    np.testing.assert_allclose(centre, [3, 5, 0, 0], atol=0.15)
    np.testing.assert_allclose(scale, [2, 1, rare.std(), 1], atol=0.15)


def test_a_sample_is_the_same_however_the_set_is_cut():
    rows = np.arange(100)
    whole = samples.sampled(rows, 0, None, 10)
    cut = None
    for start in range(0, 100, 7):
        cut = samples.sampled(rows[start : start + 7], start, cut, 10)
    assert cut.rows.tolist() == whole.rows.tolist() == cut.indices.tolist()
    assert len(set(cut.rows.tolist())) == 10


@pytest.mark.parametrize("same", [False, True])
def test_vectors_are_those_found_by_comparing_all(same, monkeypatch):
    monkeypatch.setattr(vectors, "ROWS", 16)
    first = RNG.normal(size=(37, 5)).astype(np.float32)
    second = first + (0 if same else 0.4 * RNG.normal(size=first.shape))
    sets = {"a": first} if same else {"a": first, "b": second}
    pairs = leakage.every_pair if same else leakage.between_sets
    found = check(sets, [near_vectors(lambda x: x, least=0.8)], pairs=pairs).overlaps[0]
    one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (first, second))
    cosine = one @ other.T
    if same:
        cosine[np.tril_indices(37)] = 0
    expected = [
        [int(column.argmax()), j] for j, column in enumerate(cosine.T) if column.max() >= 0.8
    ]
    assert found.pairs.tolist() == expected
    assert expected
    np.testing.assert_allclose(found.scores, [cosine[i, j] for i, j in expected], atol=1e-6)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_the_product_lowers_for_accelerators(platform):
    block = jax.ShapeDtypeStruct((16, 8), jnp.float32)
    jax.jit(vectors.cosines).trace(block, block).lower(lowering_platforms=(platform,))


FIRST = near_vectors(lambda x: x[:, 0])
BAD = [
    (TypeError, r"words\(array of dtype float64\)", TABLE, near_texts()),
    (ValueError, r"near_texts\(of\) gives \(array", (["a"], ["b"]), near_texts()),
    (TypeError, r"by_value\(array of dtype object\)", DOCUMENTS, near_rows()),
    (ValueError, r"near_rows\(columns=7\) must be below the 7", TABLE, near_rows(columns=7)),
    (ValueError, r"near_rows\(of\) gives shape \(2, 2, 2\)", np.zeros((2, 2, 2)), near_rows()),
    (ValueError, r"near_rows\(of\) gives an infinity", np.full((2, 2), np.inf), near_rows()),
    (ValueError, r"near_vectors\(embed\): .* example 0 is not", TABLE, near_vectors(lambda x: x)),
    (ValueError, r"near_vectors\(embed\) gives float64\[80\]", TABLE, FIRST),
]


@pytest.mark.parametrize(("error", "message", "examples", "looked_for"), BAD)
def test_refuses_what_cannot_be_compared(error, message, examples, looked_for):
    with pytest.raises(error, match=message):
        check({"train": examples}, [looked_for])
