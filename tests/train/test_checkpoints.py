"""A run that was stopped and goes on equals the run that was not, bit for bit."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from tests.train import tasks

pytest.importorskip("orbax.checkpoint")
DATA = tasks.examples(40)


class StoppedError(Exception):
    pass


def noisy(key, batch):
    x, labels = batch
    return x + 0.1 * jax.random.normal(key, x.shape), labels


# An optimizer with a key, an empty leaf and integers in its state.
OPTIMIZER = optax.chain(optax.add_noise(0.1, 0.5, key=jax.random.key(7)), optax.adam(0.05))
RECIPE = tasks.recipe(OPTIMIZER, select=jc.inexact(), augment=noisy)


def params():
    return tasks.initial() | {"nothing": jnp.zeros((0, 2)), "low": jnp.ones(3, jnp.bfloat16)}


def fitted(folder, *, steps=12, stop_at=None, data=DATA, seed=0, batch_size=8, start=None):
    looks = []

    def figure(params):
        looks.append(None)
        if len(looks) == stop_at:
            raise StoppedError
        return jnp.sum((params["out"] - 1) ** 2)

    plan = jc.train.Plan(steps, batch_size, seed, chunk=4)
    watch = jc.train.Watch(figure, every=2)
    checkpoints = folder and jc.train.Checkpoints(folder, every=4)
    found = jc.train.fit(
        RECIPE, start or params(), data, plan, watch=watch, checkpoints=checkpoints
    )
    return found, len(looks)


def same(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if jnp.issubdtype(jnp.result_type(a), jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


def test_stopped_and_resumed_equals_whole(tmp_path):
    whole, _ = fitted(None)
    with pytest.raises(StoppedError):
        fitted(tmp_path, stop_at=5)  # at step 10; step 8 was saved
    resumed, looks = fitted(tmp_path)
    assert looks == 2
    same(resumed, whole)
    again, looks = fitted(tmp_path)  # there is nothing left to do
    assert looks == 0
    same(again, whole)


def test_a_longer_run_goes_on_from_a_shorter_one(tmp_path):
    fitted(tmp_path, steps=8)
    longer, looks = fitted(tmp_path)
    assert looks == 2
    same(longer, fitted(None)[0])
    with pytest.raises(ValueError, match=r"holds step 12 of this run, beyond Plan\(steps=8\)"):
        fitted(tmp_path, steps=8)


def test_another_run_is_refused_by_name(tmp_path):
    fitted(tmp_path, steps=4)
    other = {
        "seed is 0 where this one's is 1": {"seed": 1},
        "batch_size is 8 where this one's is 4": {"batch_size": 4},
        "number of examples is 40 where": {"data": tasks.examples(39)},
        "set of examples is": {"data": tasks.examples(40, seed=1)},
        "starting params is": {"start": params() | {"low": jnp.zeros(3, jnp.bfloat16)}},
    }
    for message, change in other.items():
        with pytest.raises(ValueError, match=rf"holds another run, whose {message}"):
            fitted(tmp_path, **change)


def test_a_folder_of_something_else_is_refused(tmp_path):
    checkpoint = pytest.importorskip("orbax.checkpoint")
    with checkpoint.CheckpointManager(tmp_path / "other") as manager:
        manager.save(5, args=checkpoint.args.StandardSave({"a": np.ones(3)}))
    with pytest.raises(ValueError, match=r"other/5 is no checkpoint of a run of fit, or is dam"):
        fitted(tmp_path / "other")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file is a file. Choose a folder"):
        fitted(tmp_path / "file")


def test_a_damaged_checkpoint_is_refused_and_the_one_before_serves(tmp_path):
    whole, _ = fitted(tmp_path)
    for path in (tmp_path / "12" / "run").rglob("*"):
        if path.is_file():
            path.write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"12 is no checkpoint of a run of fit, or is damaged"):
        fitted(tmp_path)
    shutil.rmtree(tmp_path / "12")
    again, looks = fitted(tmp_path)
    assert looks < 6
    same(whole.params, again.params)
