"""Students made of a teacher's layers: which layers, copies, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc

students = jc.distill.students


def layer(value, width=2):
    return {"kernel": jnp.full((width, 2), value), "bias": jnp.full(2, -value)}


STACKED = {
    "embed": jnp.arange(3.0),
    "layers": {"kernel": jnp.arange(24.0).reshape(6, 2, 2), "bias": jnp.arange(12.0).reshape(6, 2)},
}
TEACHER = {"embed": jnp.ones(3), "blocks": [layer(float(i)) for i in range(4)]}
STUDENT = {"embed": jnp.zeros(3), "blocks": [layer(9.0) for _ in range(2)], "head": jnp.ones(2)}


@pytest.mark.parametrize(
    ("count", "of", "layers"),
    [
        (6, 12, (0, 2, 4, 7, 9, 11)),  # DistilBERT's
        (1, 5, (0,)),
        (2, 24, (0, 23)),
        (5, 5, (0, 1, 2, 3, 4)),
    ],
)
def test_layers_are_evenly_spaced(count, of, layers):
    assert students.evenly_spaced(count, of=of) == layers


@pytest.mark.parametrize("layers", [(0, 5), [3], (5, 1, 1, 0)])
@pytest.mark.parametrize("axis", [0, -1])
def test_stacked_leaves_are_cut_and_others_copied(layers, axis):
    teacher = jax.tree.map(lambda leaf: leaf, STACKED)
    if axis == -1:
        teacher["layers"] = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), STACKED["layers"])
    found = students.from_layers(teacher, layers, select=jc.matching("layers/*"), axis=axis)
    for name, leaf in teacher["layers"].items():
        expected = np.stack([np.moveaxis(np.asarray(leaf), axis, 0)[i] for i in layers])
        np.testing.assert_array_equal(np.moveaxis(found["layers"][name], axis, 0), expected)
    found["embed"].delete()  # as a step that reuses its memory does
    np.testing.assert_array_equal(teacher["embed"], np.arange(3))


def test_blocks_are_the_teachers_by_name():
    blocks = {"blocks/0": "blocks/1", "blocks/1": "blocks/3", "embed": "embed"}
    found = students.from_blocks(STUDENT, TEACHER, blocks)
    assert jax.tree.structure(found) == jax.tree.structure(STUDENT)
    for own, other in ((0, 1), (1, 3)):
        same = jax.tree.map(np.array_equal, found["blocks"][own], TEACHER["blocks"][other])
        assert all(jax.tree.leaves(same))
    np.testing.assert_array_equal(found["head"], STUDENT["head"])
    found["embed"].delete()
    np.testing.assert_array_equal(TEACHER["embed"], np.ones(3))


def test_the_students_dtypes_stay():
    student = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), STUDENT)
    found = students.from_blocks(student, TEACHER, {"blocks/0": "blocks/2"})
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.bfloat16)}


LAYERS = jc.matching("layers/*")


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: students.evenly_spaced(3, of=2), ValueError, "keeps more than there are"),
        (
            lambda: students.from_layers(STACKED, [6], select=LAYERS),
            ValueError,
            r"from_layers\(layers=\[6\]\) must be numbers from 0 to 5",
        ),
        (
            lambda: students.from_layers(STACKED, [0], select=jc.matching("*")),
            ValueError,
            "3 at 'embed', 6 at 'layers/bias'. Select those of one stack.",
        ),
        (
            lambda: students.from_layers(STACKED, [0], select=LAYERS, axis=2),
            ValueError,
            r"axis=2\): leaf 'layers/bias' has shape \(6, 2\)",
        ),
        (
            lambda: students.from_blocks(STUDENT, TEACHER, {"blocks/0": "blocks/7"}),
            ValueError,
            "the teacher has no block 'blocks/7'. Its leaves are: blocks/0/bias",
        ),
        (
            lambda: students.from_blocks(STUDENT, TEACHER, {"blocks/0": "embed"}),
            ValueError,
            "'embed' has a leaf '', and 'blocks/0' has none|'blocks/0' has a leaf 'bias'",
        ),
        (
            lambda: students.from_blocks(
                STUDENT, TEACHER, {"blocks": "blocks", "blocks/0": "blocks/0"}
            ),
            ValueError,
            "'blocks' has a leaf '2/bias', and 'blocks' has none",
        ),
        (
            lambda: students.from_blocks(STUDENT, {"w": layer(1.0, 3)}, {"blocks/0": "w"}),
            ValueError,
            r"leaf 'blocks/0/kernel' of the student has shape \(2, 2\), .* \(3, 2\)",
        ),
        (
            lambda: students.from_blocks(
                TEACHER, TEACHER, {"blocks": "blocks", "blocks/0": "blocks/0"}
            ),
            ValueError,
            "has leaf 'blocks/0/bias' in two blocks",
        ),
    ],
)
def test_errors_name_what_is_wrong(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_compressed_leaves_are_refused():
    shipped, _ = jc.quantize.quantize({"kernel": jnp.ones((2, 4, 4))}, jc.quantize.int8())
    with pytest.raises(TypeError, match=r"from_layers\(teacher=...\): leaf 'kernel' is"):
        students.from_layers(shipped, [0], select=jc.everything())
