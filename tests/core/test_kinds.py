"""Each kind of argument: what passes its check, and what is refused by name."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress.core import kinds, trees

AXES = {"kernel": jc.LeafAxes((0,), (1,))}
PARAMS = {"kernel": jnp.ones((2, 2))}


def mend(check):
    """The check with a mend, for those that take one."""
    return lambda caller, argument, value: check(caller, argument, value, "Pass another.")


def shaped(shape):
    return lambda caller, argument, value: kinds.check_shape(caller, argument, value, shape)


KINDS = [
    (
        "function",
        mend(kinds.check_function),
        [len, jax.nn.relu, jax.jit(len), int],
        [None, 1, "len"],
    ),
    (
        "function of two arguments",
        lambda caller, argument, value: kinds.check_takes(caller, argument, value, 2, "Pass one."),
        [jnp.add, jax.jit(len), lambda x, y: x, lambda *rest: rest, lambda x, y, z=0, *, w=0: x],
        [None, jc.quantize.int8, jc.weights, lambda x: x, lambda x, y, *, z: x],
    ),
    (
        "key",
        kinds.check_key,
        [jax.random.key(0), jax.random.PRNGKey(0), jax.random.key(0, impl="rbg")],
        [None, 0, np.zeros(2), jax.random.split(jax.random.key(0)), jax.random.key],
    ),
    (
        "transformation",
        kinds.check_transformation,
        [
            optax.sgd(0.1),
            optax.MultiSteps(optax.sgd(0.1), 2),
            optax.with_extra_args_support(optax.sgd(0.1)),
            jc.optimizers.muon(0.1),
        ],
        [None, optax.sgd, "adam", 0.1, {"init": len, "update": len}],
    ),
    (
        "selector",
        kinds.check_selector,
        [jc.weights(), len, jc.optimizers.large],
        [None, "*/kernel", True, jc.weights],
    ),
    (
        "matrices",
        shaped("(batch, m, n)"),
        [jnp.ones((1, 2, 3)), np.ones((1, 2, 3), int), jnp.ones((0, 2, 3), jnp.bfloat16)],
        [jnp.ones((2, 3)), jnp.ones((1, 1, 2, 3)), np.full((1, 2, 3), "x"), [[[1.0]]], 1.0, PARAMS],
    ),
    (
        "rows",
        shaped("(…, classes)"),
        [jnp.ones(1), jnp.ones((2, 3, 4))],
        [jnp.ones(()), 1.0, jnp.ones(2, bool), jnp.ones(2, jnp.complex64), jax.random.key(0)],
    ),
    (
        "numbers",
        kinds.check_numeric,
        [1, [[1.5]], True, np.ones(2, bool), jnp.ones(2, jnp.bfloat16), np.ones(1, complex), []],
        ["1", None, ["1"], {}, len, jax.random.key(0), np.full(1, None)],
    ),
    ("number", shaped("()"), [1, 1.5, np.float64(1), jnp.ones(())], [True, "1", jnp.ones(1), None]),
    (
        "arrays",
        trees.check_arrays,
        [
            {},
            None,
            1.0,
            PARAMS,
            {"w": np.ones(1), "n": 1, "z": 1j, "flag": True, "key": jax.random.key(0)},
            jax.eval_shape(lambda: PARAMS),
            jc.quantize.quantize(PARAMS, jc.quantize.int8())[0],
        ],
        ["text", {"f": jax.nn.relu}, [object]],
    ),
    ("mapping", mend(kinds.check_mapping), [{}, AXES], [[], "text", None, jnp.ones(1)]),
    ("text", kinds.check_text, ["", "text"], [b"text", None, 1, ["text"]]),
    ("path", kinds.check_path, ["model", pathlib.Path("model")], [b"model", None, 1, {}]),
]


@pytest.mark.parametrize(
    ("check", "right", "wrong"), [pytest.param(*row[1:], id=row[0]) for row in KINDS]
)
def test_what_passes_and_what_is_refused(check, right, wrong):
    for value in right:
        check("thing", "part", value)
    for value in wrong:
        with pytest.raises(TypeError, match=r"^thing\(part=.*\).*(must be|no array)"):
            check("thing", "part", value)


def test_a_traced_key_passes():
    jax.jit(lambda key: kinds.check_key("thing", "key", key))(jax.random.key(0))
    jax.vmap(lambda key: kinds.check_key("thing", "key", key))(jax.random.split(jax.random.key(0)))


def test_axes_by_name():
    assert trees.named_axes("thing", None) is None
    assert trees.named_axes("thing", AXES) == AXES
    for wrong in (PARAMS, "text", 1.5, [jc.weights], {"kernel": "output"}):
        with pytest.raises(TypeError, match=r"thing\(axes=...\) holds .*graph\.axes"):
            trees.named_axes("thing", wrong)


def test_every_entry_of_a_list_is_checked():
    kinds.check_each("thing", "names", ["a", "b"], kinds.check_text)
    for wrong in ("ab", None, {"a": 1}, ["a", 1]):
        with pytest.raises(TypeError, match=r"thing\(names="):
            kinds.check_each("thing", "names", wrong, kinds.check_text)


@pytest.mark.parametrize(
    "given",
    [True, "kernel", {"kernel": "kernel"}, {"kernel": 1}, {}, {"other": True}, {"kernel": [True]}],
    ids=str,
)
def test_what_a_selector_gives_is_a_bool_for_every_leaf(given):
    with pytest.raises(TypeError, match=re.escape("thing(select=")):
        trees.chosen_by("thing", lambda params: given, PARAMS)


def test_a_selector_chooses_by_name():
    assert trees.chosen_by("thing", jc.weights(), PARAMS | {"bias": jnp.ones(2)}) == {
        "kernel": True,
        "bias": False,
    }
    assert trees.chosen_by("thing", jc.everything(), {}) == {}
