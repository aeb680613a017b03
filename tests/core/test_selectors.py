"""Selectors: a row each with an oracle on name, shape and dtype, and what all share."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress.core.axes import UNUSED, LeafAxes
from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import named_leaves
from jaxcompress.core.selectors import axes_of
from jaxcompress.core.types import Selector
from tests.inputs import QTENSORS, TREES


def awkward_tree():
    return {
        "layer": {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)},
        "empty": jnp.zeros((0, 3)),
        "steps": jnp.zeros((2, 2), jnp.int32),
        "mask": jnp.ones((2, 2), bool),
        "scalar": jnp.float32(1),
        "half": jnp.ones((2, 2), jnp.bfloat16),
        "complex": jnp.ones((2, 2), jnp.complex64),
        "quantized": QTENSORS["int4 groups"](),
    }


class Case(NamedTuple):
    name: str
    select: Selector
    oracle: Callable[[str, tuple[int, ...], np.dtype], bool]


def is_inexact(name, shape, dtype):
    return jnp.issubdtype(dtype, jnp.inexact) and 0 not in shape


def is_weight(name, shape, dtype):
    return jnp.issubdtype(dtype, jnp.floating) and 0 not in shape and len(shape) >= 2


VERBS = {
    "weights": jc.weights(),
    "inexact": jc.inexact(),
    "at_least": jc.at_least(2),
    "all_of": jc.all_of(jc.everything(), jc.inexact()),
    "quantize": lambda params: jc.quantize.quantize(params, jc.quantize.int8()),
    "fake_quantize": jc.quantize.fake_quantize(jc.quantize.int8()),
    "prune": jc.prune.prune(optax.sgd(0.1), jc.prune.criteria.magnitude(), 0.5).init,
    "one_shot": lambda params: jc.prune.one_shot(params, jc.prune.criteria.magnitude(), 0.5),
    "factorize": lambda params: jc.structure.factorize(params, rank=1),
    "muon": jc.optimizers.muon(0.1).init,
    "quantize_state": jc.optimizers.quantize_state(optax.identity()).init,
}

CASES = [
    Case("matching", jc.matching("*a*", "half"), lambda n, s, d: "a" in n),
    Case("inexact", jc.inexact(), is_inexact),
    Case("at least", jc.at_least(4), lambda n, s, d: np.prod(s) >= 4),
    Case("everything", jc.everything(), lambda n, s, d: True),
    Case("weights", jc.weights(), is_weight),
    Case(
        "all of",
        jc.all_of(jc.weights(), jc.at_least(12), jc.matching("*")),
        lambda n, s, d: is_weight(n, s, d) and np.prod(s) >= 12,
    ),
    Case(
        "any of",
        jc.any_of(jc.matching("*bias"), jc.weights()),
        lambda n, s, d: n.endswith("bias") or is_weight(n, s, d),
    ),
    Case(
        "none of",
        jc.none_of(jc.weights(), jc.matching("*bias")),
        lambda n, s, d: not (n.endswith("bias") or is_weight(n, s, d)),
    ),
    Case("all of nothing", jc.all_of(), lambda n, s, d: True),
    Case("any of nothing", jc.any_of(), lambda n, s, d: False),
]
every_selector = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_selector
def test_against_name_shape_and_dtype(case):
    tree = awkward_tree()
    expected = {
        name: case.oracle(name, tuple(leaf.shape), leaf.dtype)
        for name, leaf in named_leaves(tree).items()
    }
    assert named_leaves(case.select(tree)) == expected


@every_selector
def test_shapes_are_enough(case):
    tree = awkward_tree()
    assert case.select(jax.eval_shape(awkward_tree)) == case.select(tree)


@every_selector
def test_values_are_bools_of_python(case):
    assert {type(chosen) for chosen in jax.tree.leaves(case.select(awkward_tree()))} == {bool}


def by_shape_alone(case: Case) -> bool:
    """Cases that name no leaf of `awkward_tree`."""
    return case.name in ("inexact", "at least", "everything", "weights", "all of")


@pytest.mark.parametrize("kind", TREES)
@pytest.mark.parametrize("case", list(filter(by_shape_alone, CASES)), ids=lambda case: case.name)
def test_every_container_keeps_its_structure(case, kind):
    tree = TREES[kind]()
    chosen = case.select(tree)
    assert jax.tree.structure(chosen) == jax.tree.structure(tree)
    for name, leaf in named_leaves(tree).items():
        assert named_leaves(chosen)[name] == case.oracle(name, leaf.shape, leaf.dtype)


@every_selector
def test_a_tree_without_leaves_gives_one(case):
    for tree in ({}, [], None, {"a": {}, "b": None}):
        assert case.select(tree) == tree


@pytest.mark.parametrize("pattern", ["kernel", "*/Kernel", "layer", "*yy*"])
def test_a_pattern_that_matches_nothing_lists_the_names(pattern):
    with pytest.raises(
        ValueError, match=r"selects no leaf. Leaves are: complex, empty, half"
    ) as caught:
        jc.matching("*/bias", pattern)(awkward_tree())
    assert str(caught.value).startswith(f"matching({pattern!r})")


@pytest.mark.parametrize("verb", VERBS)
def test_a_leaf_that_is_no_array_is_named(verb):
    for leaf in ("text", jax.nn.relu, object()):
        with pytest.raises(TypeError, match=r"leaf 'rest/0' .* no array"):
            VERBS[verb]({"kernel": jnp.ones((4, 4)), "rest": [leaf]})


def test_no_pattern_is_refused():
    with pytest.raises(ValueError, match=r"matching\(\) needs at least one pattern"):
        jc.matching()


@pytest.mark.parametrize("pattern", ["*", "l*l", "?????/*", "[kl]*", "*/bias"])
def test_patterns_are_those_of_the_shell(pattern):
    tree = awkward_tree()
    chosen = named_leaves(jc.matching(pattern)(tree))
    assert chosen == {name: fnmatchcase(name, pattern) for name in named_leaves(tree)}


def test_weights_follow_the_axes():
    tree = {"kernel": jnp.ones((2, 2)), "table": jnp.ones(3), "empty": jnp.ones((0, 2))}
    axes = {"kernel": UNUSED, "table": LeafAxes((0,), ()), "empty": LeafAxes((0,), (1,))}
    assert jc.weights(axes)(tree) == {"kernel": False, "table": True, "empty": False}


def test_axes_of_other_params_are_refused():
    tree = {"kernel": jnp.ones((2, 2))}
    with pytest.raises(ValueError, match=r"axes= has no leaf 'kernel'. Make it with graph.axes"):
        jc.weights({"other": UNUSED})(tree)
    with pytest.raises(ValueError, match=r"'kernel' has rank 1, but its shape is \(2, 2\)"):
        jc.weights({"kernel": LeafAxes((0,), ())})(tree)


def test_axes_of_one_leaf():
    leaf, known = jnp.ones((2, 3)), {"kernel": LeafAxes((1,), (0,))}
    assert axes_of("kernel", leaf, known) == known["kernel"]
    assert axes_of("kernel", leaf, None) == LeafAxes((0,), (1,), assumed=True)
    assert axes_of("kernel", leaf, {"kernel": UNUSED}) == UNUSED


def test_selectors_take_compressed_leaves_whole():
    chosen = jc.everything()({"a": QTENSORS["uint4 groups"]()})
    assert chosen == {"a": True}
    assert not any(map(is_compressed, jax.tree.leaves(chosen)))
