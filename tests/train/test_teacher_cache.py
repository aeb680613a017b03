"""Outputs of a teacher on disk: what they are, cuts, and what is refused."""

import json
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress.train.teacher_cache import computing, drawn, shards
from tests.train import tasks

cache = jc.train.teacher_cache
KEY, N, CLASSES = jax.random.key(5), 10, 7
X = np.random.default_rng(0).normal(size=(N, 2, 3)).astype(np.float32)
PARAMS = {"kernel": jax.random.normal(jax.random.key(1), (3, CLASSES))}


def teacher(params, x):
    """Logits (n, 2, classes)."""
    return x @ params["kernel"]


LOGITS = np.asarray(teacher(PARAMS, X))


@pytest.fixture(autouse=True)
def _short_shards(monkeypatch):
    monkeypatch.setattr(computing, "SHARD_BATCHES", 2)


def fill(folder, content=None, *, fn=teacher, params=PARAMS, x=X, batch_size=2):
    return cache.fill(
        folder, fn, params, x, content or cache.whole(jnp.float32), batch_size=batch_size
    )


def drawn_alone():
    """Weights of all classes, (n, 2, classes), of each example's own draws."""

    @jax.jit
    @jax.vmap
    def indices(logits, i):
        own = jax.random.fold_in(KEY, i)
        return jc.distill.outputs.draws(logits, 20, own, temperature=2.0).indices

    return spread(np.asarray(indices(LOGITS, jnp.arange(N))), np.full((N, 2, 20), 1 / 20))


def spread(indices, weights):
    """Draws as weights of all classes."""
    found = np.zeros(LOGITS.shape)
    for example, token in np.ndindex(N, 2):
        np.add.at(found[example, token], indices[example, token], weights[example, token])
    return found


def top():
    return jc.distill.outputs.top_k(LOGITS, 3, temperature=2.0)


def outputs(found):
    return found


CONTENTS = {
    "whole float32": (cache.whole(jnp.float32), outputs, lambda: LOGITS, 1e-6),
    "whole float16": (cache.whole(), outputs, lambda: LOGITS, 2.0**-11),
    "whole bfloat16": (cache.whole("bfloat16"), outputs, lambda: LOGITS, 2.0**-8),
    "top classes": (
        cache.top_k(3, temperature=2.0),
        lambda found: found.indices,
        lambda: top().indices,
        0,
    ),
    "top log probabilities": (
        cache.top_k(3, temperature=2.0),
        lambda found: found.log_probabilities,
        lambda: top().log_probabilities,
        2.0**-11,
    ),
    "tail": (
        cache.top_k(3, temperature=2.0, dtype=jnp.float32),
        lambda found: found.log_tail,
        lambda: top().log_tail,
        1e-5,
    ),
    "draws": (
        cache.draws(20, KEY, temperature=2.0),
        lambda found: spread(found.indices[:], found.weights[:]),
        drawn_alone,
        1e-6,
    ),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_kept_is_what_the_teacher_gives(name, tmp_path):
    content, part, expected, tolerance = CONTENTS[name]
    filled = part(fill(tmp_path, content))
    read = part(cache.read(tmp_path, X, content))
    np.testing.assert_array_equal(np.asarray(filled), np.asarray(read))
    np.testing.assert_allclose(
        np.asarray(read, np.float32), expected(), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize(
    "index",
    [
        np.int64(3),
        -1,
        slice(2, 9, 3),
        [7, 7, 0],
        np.array([[9, 0], [4, 3]]),
        np.arange(N) % 3 == 0,
        np.zeros(0, int),
    ],
    ids=str,
)
def test_rows_are_looked_up_as_of_an_array(index, tmp_path):
    rows = fill(tmp_path)
    found = rows[index]
    assert (rows.shape, rows.dtype, len(rows)) == (LOGITS.shape, np.float32, N)
    np.testing.assert_array_equal(found, np.asarray(rows)[index])
    draws = cache.draws(4, KEY)
    other = fill(tmp_path / "draws", draws)
    np.testing.assert_array_equal(other.weights[index], np.asarray(other.weights)[index])


class CutError(Exception):
    pass


@pytest.mark.parametrize("after", range(7))
def test_a_cut_anywhere_leaves_nothing_half_written(after, tmp_path, monkeypatch):
    """The manifest is one file, each of three shards two."""
    seen = []

    def cut(descriptor, fsync=os.fsync):
        fsync(descriptor)
        seen.append(None)
        if len(seen) == after + 1:
            raise CutError

    monkeypatch.setattr(os, "fsync", cut)
    with pytest.raises(CutError):
        fill(tmp_path)
    # A process that is killed cleans nothing up.
    (tmp_path / f"{shards.PART}00").mkdir()
    (tmp_path / f"{shards.PART}00" / "outputs.npy").write_bytes(b"half")
    whole = len(list(tmp_path.glob("shard-*")))
    assert whole == max(0, after - 1) // 2
    seen.append(None)  # so that the second call is not cut
    rows, before = fill(tmp_path, batch_size=3 if after else 2), len(seen)
    np.testing.assert_allclose(np.asarray(rows), LOGITS, rtol=1e-6, atol=1e-6)
    assert before - after - 2 == (after == 0) + 2 * (3 - whole)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"manifest.json", *(f"shard-{number:06d}" for number in range(3))}


def test_a_full_cache_asks_the_teacher_nothing(tmp_path, monkeypatch):
    filled = np.asarray(fill(tmp_path))
    monkeypatch.setattr(computing, "computed", None)
    monkeypatch.setattr("jaxcompress.train.teacher_cache.filling.computed", None)
    np.testing.assert_array_equal(np.asarray(fill(tmp_path, batch_size=5)), filled)


SWAPPED = X[np.array([0, 1, 2, 3, 4, 6, 5, 7, 8, 9])]
TABLE = np.ones((1, 1, 3), np.float32)
OTHERS = {
    "teacher's params": {"params": {"kernel": PARAMS["kernel"].at[2, 3].add(1e-3)}},
    "teacher's program": {"fn": lambda params, x: teacher(params, x) * 2},
    "form of an example: {'.': 'float32": {"x": X.astype(np.float16)},
    "number of examples: 10, where this call's is 9": {"x": X[:9]},
    "content: {'kind': 'whole'": {"content": cache.whole(jnp.float16)},
    "example 5 of the inputs": {"x": SWAPPED},
    "example 9 of the inputs": {"x": np.concatenate([X[:9], X[9:] + 1])},
}


@pytest.mark.parametrize("said", OTHERS)
def test_another_cache_is_refused_by_what_differs(said, tmp_path):
    fill(tmp_path)
    with pytest.raises(ValueError, match=r"fill\(folder=") as error:
        fill(tmp_path, **OTHERS[said])
    assert said in str(error.value)


def test_programs_are_compared_for_batches_of_the_first_size(tmp_path):
    def even(params, x):
        """A teacher that takes no odd number of examples."""
        return teacher(params, x.reshape(-1, 2, 2, 3)).reshape(-1, 2, CLASSES)

    filled = np.asarray(fill(tmp_path, fn=even))
    np.testing.assert_array_equal(np.asarray(fill(tmp_path, fn=even, batch_size=4)), filled)
    with pytest.raises(ValueError, match="another teacher's program"):
        fill(tmp_path, batch_size=4)


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_inputs_of_double_precision_are_taken_as_jax_has_them(dtype, tmp_path):
    x = (4 * X).astype(dtype)
    rows = fill(tmp_path, x=x)
    expected = teacher(PARAMS, x.astype(np.float32))
    np.testing.assert_allclose(np.asarray(rows), expected, rtol=1e-5, atol=1e-5)


def test_constants_of_a_teacher_are_part_of_it(tmp_path):
    def other(scale):
        inner = jax.jit(lambda x: x * scale)
        return lambda params, x: inner(x) @ params["kernel"]

    fill(tmp_path, fn=other(TABLE))
    fill(tmp_path, fn=other(TABLE.copy()))
    with pytest.raises(ValueError, match="another teacher's program"):
        fill(tmp_path, fn=other(2 * TABLE))


def test_programs_of_two_releases_are_not_compared(tmp_path):
    fill(tmp_path)
    path = tmp_path / "manifest.json"
    changed = json.loads(path.read_text()) | {"release of JAX": "0", "teacher's program": "0"}
    path.write_text(json.dumps(changed))
    fill(tmp_path)
    with pytest.raises(ValueError, match="another teacher's params"):
        fill(tmp_path, **OTHERS["teacher's params"])


def at(value, example=7):
    """A teacher with this number among the logits of one example."""
    index = np.zeros((N, 2, 3), np.float32)
    index[example, 1, 0] = 1

    def fn(params, given):
        x, mark = given
        return jnp.where(mark[..., :1] > 0, value, teacher(params, x))

    return {"fn": fn, "x": (X, index)}


@pytest.mark.parametrize(
    ("value", "content", "said"),
    [
        (jnp.nan, cache.whole(), "outputs for example 7 hold NaN"),
        (jnp.inf, cache.top_k(2), "outputs for example 7 hold NaN"),
        (-jnp.inf, cache.draws(3, KEY), "outputs for example 7 hold NaN"),
        (1e5, cache.whole(), "for example 7 is too large for the content's dtype"),
        (-1e5, cache.whole(), "for example 7 is too large for the content's dtype"),
    ],
)
def test_outputs_that_are_not_finite_are_refused(value, content, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        fill(tmp_path, content, **at(value))


@pytest.mark.parametrize(
    ("fn", "error", "said"),
    [
        (lambda params, x: {"logits": x}, TypeError, r"fill\(fn\): the teacher gives {'logits'"),
        (lambda params, x: x.sum(), TypeError, "their axis first"),
        (lambda params, x: x[:, 0, 0], ValueError, "top_k: the teacher gives outputs of shape"),
        (lambda params, x: x, ValueError, r"top_k\(k=4\) must be at most 3"),
    ],
)
def test_outputs_of_another_kind_are_refused(fn, error, said, tmp_path):
    with pytest.raises(error, match=said):
        fill(tmp_path, cache.top_k(4), fn=fn)


def remove_shard(folder: pathlib.Path):
    os.rename(folder / "shard-000001", folder.parent / "away")


def truncate(folder: pathlib.Path):
    path = folder / "shard-000001" / "outputs.npy"
    path.write_bytes(path.read_bytes()[:-4])


def scratch(folder: pathlib.Path):
    (folder / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (remove_shard, r"read\(folder=.*1 of 3 shards are missing. Complete it with fill."),
        (truncate, "outputs.npy is missing or damaged. Remove the folder shard-000001"),
        (scratch, "manifest.json is damaged"),
    ],
)
def test_what_is_missing_or_damaged_is_named(damage, said, tmp_path):
    folder = tmp_path / "cache"
    fill(folder)
    damage(folder)
    with pytest.raises(ValueError, match=said):
        cache.read(folder, X, cache.whole(jnp.float32))


def test_other_folders_are_refused(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ValueError, match="holds other files and no cache"):
        fill(tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        fill(tmp_path / "notes")
    with pytest.raises(ValueError, match=r"read\(folder=.* holds no cache"):
        cache.read(tmp_path, X, cache.whole())


def test_a_traced_index_is_refused(tmp_path):
    rows = fill(tmp_path)
    with pytest.raises(TypeError, match="the index is traced"):
        jax.jit(lambda i: rows[i])(3)


def test_draws_are_unbiased_and_take_three_bytes(tmp_path):
    count, n = 50, 400
    probabilities = np.array([0.5, 0.3, 0.15, 0.05])
    logits = np.tile(np.log(probabilities).astype(np.float32), (n, 1))
    content = cache.draws(count, KEY)
    found = fill(tmp_path, content, fn=lambda params, x: x, x=logits, batch_size=200)
    weights = np.zeros(4)
    np.add.at(weights, found.indices[:], found.weights[:])
    deviation = np.sqrt(probabilities * (1 - probabilities) / (count * n))
    assert np.all(np.abs(weights / n - probabilities) < 5 * deviation)
    np.testing.assert_allclose(found.weights[:].sum(-1), 1, rtol=1e-6)
    drawn_of_many = np.sort(np.random.default_rng(0).integers(0, 151_000, (3, count)))
    assert drawn.merged(drawn_of_many, 151_000)["entries"].shape[1] == 3


def test_training_on_the_disk_equals_training_in_memory(tmp_path):
    x, _ = tasks.examples(24)
    rows = cache.fill(tmp_path, tasks.model, tasks.initial(KEY), x, cache.top_k(2), batch_size=4)
    loss = jc.distill.outputs.top_k_targets
    recipe = jc.train.Recipe(jc.train.objectives.supervised(tasks.model, loss), optax.adam(0.05))
    plan = jc.train.Plan(steps=6, batch_size=8)
    found = [
        jc.train.fit(recipe, tasks.initial(), (x, targets), plan)
        for targets in (rows, jax.tree.map(np.asarray, rows))
    ]
    np.testing.assert_array_equal(found[0].losses, found[1].losses)
    assert found[0].losses[-1] < found[0].losses[0]
