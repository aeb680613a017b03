"""Files of smaller models: what was removed comes back, and gives the program again."""

import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.graph import Removal
from jaxcompress.graph.surgery import slice_params
from jaxcompress.graph.surgery.removal import LeafCut
from jaxcompress.storage import FileError, describe, load, load_leaf, load_removal, save, size
from tests.storage.bits import assert_same_bits
from tests.storage.forging import forged_1, forged_2
from tests.structure.replays import VERBS, X

ROOT = pathlib.Path(__file__).parent.parent.parent
CUTS = (LeafCut("in", 1, 5, (0, 4)), LeafCut("out", 0, 5, (0, 4)))
REMOVAL = Removal(CUTS)
LAYERS = Removal((LeafCut("in", 0, 4, (1,)),), layers=(("in", (1,)),))
SMALL = {"in": jnp.ones((3, 3)), "out": jnp.ones((3, 2))}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def check_again(folder: str) -> None:
    """Compares what every verb's file gives in this process with the outputs saved."""
    outputs = np.load(f"{folder}/outputs.npz")
    for name, verb in VERBS.items():
        path = f"{folder}/{name}"
        fn = verb.again(load_removal(path))
        np.testing.assert_array_equal(jax.jit(fn)(load(path), X), outputs[name], strict=True)


def test_a_fresh_process_has_the_smaller_program_of_every_verb(tmp_path):
    outputs = {}
    for name, verb in VERBS.items():
        small = verb.make()
        removals = (small.removal,) if isinstance(small.removal, Removal) else small.removal
        save(tmp_path / name, small.params, removal=small.removal)
        assert load_removal(tmp_path / name) == describe(tmp_path / name).removals == removals
        outputs[name] = np.asarray(jax.jit(small.fn)(small.params, X))
    np.savez(tmp_path / "outputs.npz", **outputs)
    program = f"from tests.storage.test_removals import check_again; check_again({str(tmp_path)!r})"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_file_without_a_removal_has_none(path):
    for tree, removal in ((SMALL, ()), (SMALL, []), (jnp.ones(3), ())):
        assert save(path, tree, removal=removal) == size(tree).disk
        assert load_removal(path) == describe(path).removals == ()
    forged_1(path, {}, {"x": np.ones(3, np.float32)})
    assert load_removal(path) == ()


def test_a_removal_changes_nothing_of_the_tree(path):
    save(path, SMALL, removal=[LAYERS, REMOVAL], metadata={"about": "text"})
    assert_same_bits(load(path), SMALL)
    assert describe(path).metadata == {"about": "text"}
    told = str(describe(path))
    assert "removed before: layers 1 of in\nremoved before: units of 2 axes of 2 leaves\n" in told
    shapes = {"in": jax.ShapeDtypeStruct((4, 5), jnp.float32)}
    shapes["out"] = jax.ShapeDtypeStruct((5, 2), jnp.float32)
    for removal in load_removal(path):
        shapes = slice_params(shapes, removal)
    assert_same_bits(load(path, like=shapes), SMALL)


@pytest.mark.parametrize(
    ("removal", "tree", "message"),
    [
        (REMOVAL, SMALL | {"in": jnp.ones((3, 5))}, "'in' has size 5 along axis 1; .* 3 of 5"),
        (REMOVAL, {"in": jnp.ones((3, 3))}, "cuts leaf 'out', which the params do not have"),
        ([REMOVAL, REMOVAL], SMALL, "'in' has size 5 along axis 1; the removal leaves 3 of 5"),
    ],
)
def test_params_that_the_removal_does_not_leave_are_refused(path, removal, tree, message):
    with pytest.raises(
        ValueError, match=rf"^save\(removal=...\) does not fit the tree: .*{message}"
    ):
        save(path, tree, removal=removal)
    assert not path.exists()


@pytest.mark.parametrize("removal", [3, None, "units", [CUTS], {"cuts": []}])
def test_what_is_no_removal_is_refused(path, removal):
    with pytest.raises(TypeError, match=r"^save\(removal=...\) must be what verbs of structure"):
        save(path, SMALL, removal=removal)


FIELDS = REMOVAL.to_json()
FORGED = {
    "no list": ({}, "the text 'removed' is {} and no list"),
    "no removal": ([3], "3 describes no removal"),
    "a field more": ([FIELDS | {"more": 1}], "describes no removal"),
    "another leaf": ([FIELDS | {"cuts": [["up", 0, 5, 0]]}], "cuts leaf 'up'"),
    "another size": ([FIELDS | {"cuts": [["in", 1, 6, 0]]}], "the removal leaves 4 of 6"),
    "a huge size": ([FIELDS | {"cuts": [["in", 1, 2**62, 0]]}], "the removal leaves"),
    "an axis that is not there": ([FIELDS | {"cuts": [["in", 2, 5, 0]]}], "has size none"),
    "other layers": (
        [FIELDS | {"cuts": [["in", 1, 5, 0]], "indices": [[[0, 1]] * 4]}],
        "leaves 3 of 5 in each of 4 layers",
    ),
    "layers of the layers": (
        [FIELDS | {"cuts": [["in", 0, 5, 0]], "indices": [[[0, 1]] * 3]}],
        "in each of 3 layers",
    ),
    "one too many": ([FIELDS, FIELDS], "'in' has size 5 along axis 1"),
    "a long name": ([FIELDS | {"cuts": [["x" * 10_000, 0, 5, 0]]}], "xxx"),
}


@pytest.mark.parametrize(("fields", "message"), FORGED.values(), ids=FORGED)
def test_a_removal_that_cannot_be_is_refused_by_every_reader(path, fields, message):
    arrays = {name: np.asarray(x) for name, x in SMALL.items()}
    forged_2(path, {"removed": [FIELDS]}, arrays)
    assert load_removal(path) == (REMOVAL,)
    forged_2(path, {"removed": fields}, arrays)
    for read in (load, describe, load_removal, lambda path: load_leaf(path, "in")):
        with pytest.raises(FileError, match=message) as caught:
            read(path)
        assert len(str(caught.value)) < 600 + len(str(path))
