"""What every loss of features and of relations is held to, by what its row declares.

Each row is compiled once, mapped over all variants of its features, which serve every
law. Huge features are float32 there: of 16 bits they would be cast first, which
`check_few_bits` reads off the program.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.distill import LearnedLoss

BATCH = 5
SHUFFLED = np.array([3, 0, 4, 1, 2])
SCALE = 8.0
STEP = 1e-5
TOLERANCE = 256 * float(np.finfo(np.float32).eps)
"""Of numbers of about 1 behind fewer than 256 roundings, most of which cancel."""


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One loss, its oracle and its laws.

    Attributes:
      loss: a plain loss, or one with parameters.
      student: shape of the student's features, or a list of shapes.
      teacher: of the teacher's.
      oracle: (parameters, student, teacher) in float64 -> shares, by plain loops.
      zero: whether equal features have loss 0.
      least: what no loss is below.
      scale_free: the sides that may be multiplied by a number, which changes nothing.
      relational: whether a share depends on the other examples.
      frozen: the parameters that the loss does not train.
      huge: the magnitude of bfloat16 features at which all must be finite.
      half: of float16 features, where their gradient must also be below 65504.
    """

    loss: Callable | LearnedLoss
    student: Any
    teacher: Any
    oracle: Callable
    zero: bool = True
    least: float = 0.0
    scale_free: tuple[str, ...] = ()
    relational: bool = False
    frozen: tuple[str, ...] = ()
    huge: float = 1e12
    half: float = 60000.0

    @property
    def parameters(self) -> Any:
        if not isinstance(self.loss, LearnedLoss):
            return {}
        start = self.loss.init(jax.random.key(0), self.student, self.teacher)
        # Biases that are not 0, so that the oracle sees whether they are added.
        return jax.tree.map(lambda leaf: leaf + 0.1 * normal(leaf.shape, 9), start)

    def shares(self, parameters, student, teacher):
        if isinstance(self.loss, LearnedLoss):
            return self.loss.loss(parameters, student, teacher)
        return self.loss(student, teacher)


def normal(shape, seed: int = 0) -> Any:
    """Features of a shape, or of each shape of a list."""
    if isinstance(shape, list):
        return [normal(each, seed + index) for index, each in enumerate(shape)]
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def twins(features):
    """Features whose first two examples are equal."""
    return jax.tree.map(lambda x: np.concatenate([x[1:2], x[1:]]), features)


def zeros(features):
    return jax.tree.map(np.zeros_like, features)


def times(features, factor):
    return jax.tree.map(lambda x: x * np.asarray(factor, x.dtype), features)


def huge(features, magnitude):
    return jax.tree.map(lambda x: np.sign(x) * np.float32(magnitude), features)


def shuffled(features):
    return jax.tree.map(lambda x: x[SHUFFLED], features)


def first_changed(features):
    """Another first example, all others as they are."""
    return jax.tree.map(lambda x: np.concatenate([2 - x[:1], x[1:]]), features)


def broken(features, value):
    """One entry of the first example is not finite."""

    def first(x):
        x = x.copy()
        x[(0,) * x.ndim] = value
        return x

    return jax.tree.map(first, features)


NOT_FINITE = "not a number", "no teacher", "infinite teacher"


def variants(case: Case) -> dict[str, tuple]:
    """(student, teacher) by what is tried."""
    student, teacher = normal(case.student, 1), normal(case.teacher, 2)
    found = {
        "plain": (student, teacher),
        "shuffled": (shuffled(student), shuffled(teacher)),
        "scaled student": (times(student, SCALE), teacher),
        "scaled teacher": (student, times(teacher, 1 / SCALE)),
        "first changed": (first_changed(student), teacher),
        "zero student": (zeros(student), teacher),
        "zero teacher": (student, zeros(teacher)),
        "zero": (zeros(student), zeros(teacher)),
        "twins": (twins(student), twins(teacher)),
        "half": (huge(student, case.half), huge(teacher, case.half)),
        "huge": (huge(student, case.huge), huge(teacher, case.huge)),
        "not a number": (broken(student, np.nan), teacher),
        "no teacher": (student, broken(teacher, np.nan)),
        "infinite teacher": (student, broken(teacher, np.inf)),
    }
    if case.student == case.teacher:
        found["equal"] = (student, student)
    return found


def weighed(case: Case, parameters, student, teacher):
    """The shares, each with a weight of its own: its gradient speaks of each."""
    shares = case.shares(parameters, student, teacher)
    return jnp.sum(shares * WEIGHTS), shares


WEIGHTS = np.linspace(0.5, 1.5, BATCH, dtype=np.float32)


@functools.cache
def results(case: Case) -> dict[str, tuple]:
    """(shares, gradients by parameters, student and teacher) by variant."""
    tried = variants(case)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *tried.values())
    run = jax.value_and_grad(functools.partial(weighed, case), (0, 1, 2), has_aux=True)
    (_, shares), gradients = jax.jit(jax.vmap(run, (None, 0, 0)))(case.parameters, *stacked)
    by_parameters, by_student, by_teacher = gradients
    every = shares, by_parameters, by_student, by_teacher
    return {
        name: jax.tree.map(lambda leaf, index=index: leaf[index], every)
        for index, name in enumerate(tried)
    }


def expected(case: Case, student, teacher, parameters=None):
    parameters = case.parameters if parameters is None else parameters
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), (parameters, student, teacher))
    return np.asarray(case.oracle(*wide))


def tolerance(values) -> float:
    return TOLERANCE * max(1.0, float(np.max(np.abs(values))))


def check_oracle(case: Case) -> None:
    shares = results(case)["plain"][0]
    wanted = expected(case, *variants(case)["plain"])
    assert shares.dtype == jnp.float32
    assert shares.shape == (BATCH,)
    np.testing.assert_allclose(shares, wanted, rtol=0, atol=tolerance(wanted))


def check_gradient(case: Case) -> None:
    """Along a direction in parameters and student against differences of the oracle."""
    _, by_parameters, by_student, by_teacher = results(case)["plain"]
    student, teacher = variants(case)["plain"]
    point = jax.tree.map(lambda x: np.asarray(x, np.float64), (case.parameters, student))
    way = jax.tree.map(lambda x: np.asarray(normal(x.shape, 5), np.float64), point)
    for name in case.frozen:
        way[0][name] = zeros(way[0][name])
    values = []
    for step in (STEP, -STEP):
        parameters, moved = jax.tree.map(lambda x, d, step=step: x + step * d, point, way)
        values.append(WEIGHTS @ expected(case, moved, teacher, parameters))
    products = jax.tree.map(lambda g, d: np.sum(g * d), (by_parameters, by_student), way)
    terms = np.array(jax.tree.leaves(products))
    wanted = (values[0] - values[1]) / (2 * STEP)
    size = sum(np.sum(np.abs(g)) for g in jax.tree.leaves((by_parameters, by_student)))
    np.testing.assert_allclose(terms.sum(), wanted, rtol=0, atol=tolerance(size))
    for leaf in jax.tree.leaves((by_teacher, [by_parameters[name] for name in case.frozen])):
        np.testing.assert_array_equal(leaf, 0)


def check_laws(case: Case) -> None:
    found = {name: result[0] for name, result in results(case).items()}
    plain, near = found["plain"], tolerance(found["plain"])
    np.testing.assert_allclose(found["shuffled"], plain[SHUFFLED], rtol=0, atol=near)
    for name in {"zero", "equal"} & found.keys() if case.zero else ():
        # The square of a difference, or a divergence, that is 0 but for rounding.
        np.testing.assert_allclose(found[name], 0, rtol=0, atol=TOLERANCE**2)
    for side in ("student", "teacher"):
        same = np.allclose(found[f"scaled {side}"], plain, rtol=0, atol=near)
        assert same is (side in case.scale_free), side
    others = np.allclose(found["first changed"][1:], plain[1:], rtol=0, atol=near)
    assert others is not case.relational
    assert not np.allclose(found["first changed"][0], plain[0], rtol=0, atol=near)
    for name in found.keys() - set(NOT_FINITE):
        assert found[name].min() >= case.least - near, name


def check_finite(case: Case) -> None:
    for name, result in results(case).items():
        for leaf in jax.tree.leaves(result) if name not in NOT_FINITE else ():
            assert np.isfinite(leaf).all(), name
    for leaf in jax.tree.leaves(results(case)["half"][2]):  # gradients, cast to float16
        assert np.max(np.abs(leaf)) < np.finfo(np.float16).max


def check_not_hidden(case: Case) -> None:
    """What is not finite is seen in its example's share, and in its gradient."""
    for name in NOT_FINITE:
        shares, _, by_student, _ = results(case)[name]
        assert not np.isfinite(shares[0]), name
        assert case.relational or np.isfinite(shares[1:]).all(), name
        seen = any(not np.isfinite(leaf[0]).all() for leaf in jax.tree.leaves(by_student))
        # The choices of an activation behind parameters have a gradient of 0 at NaN.
        assert seen or isinstance(case.loss, LearnedLoss), name


def check_few_bits(case: Case) -> None:
    """What 16 bits hold is cast and never computed with; what comes back is cast."""
    parameters = case.parameters
    run = jax.value_and_grad(functools.partial(weighed, case, parameters), has_aux=True)
    for dtype in (jnp.float16, jnp.bfloat16):
        pair = jax.tree.map(lambda x, d=dtype: x.astype(d), variants(case)["plain"])
        traced, ((_, shares), gradient) = jax.make_jaxpr(run, return_shape=True)(*pair)
        assert shares.dtype == jnp.float32
        assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype(dtype)}
        assert computed(traced.jaxpr, dtype) == set()


def computed(jaxpr, dtype) -> set[str]:
    """The primitives that take or give values of a dtype, but for casts."""
    found = set()
    for equation in jaxpr.eqns:
        inner = [getattr(each, "jaxpr", None) for each in equation.params.values()]
        inner = [each for each in inner if each is not None]
        touched = any(each.aval.dtype == dtype for each in (*equation.invars, *equation.outvars))
        if touched and not inner and equation.primitive.name != "convert_element_type":
            found.add(equation.primitive.name)
        found = found.union(*(computed(each, dtype) for each in inner))
    return found
