"""A whole run: a host loop around compiled steps, which looks, saves and stops."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcompress.core.checks import check_concrete, check_fits
from jaxcompress.core.kinds import check_kind
from jaxcompress.core.progress import bar
from jaxcompress.core.types import Params, PyTree
from jaxcompress.optimizers.safety.guard import check_skips, has_guard
from jaxcompress.train.causes import cause, check_labels
from jaxcompress.train.course import Course
from jaxcompress.train.examples import example_count
from jaxcompress.train.plan import Checkpoints, Plan, Watch
from jaxcompress.train.recipe import Recipe
from jaxcompress.train.running import Stepper, everywhere, stepper
from jaxcompress.train.saving import Saver, opened
from jaxcompress.train.steps.step import BUILD, State, check_trained, initial


class Fitted(NamedTuple):
    """What came out of a run.

    Attributes:
      params: those of the least figure where one was watched, else the last.
      opt_state: of the last step, on leaves that train.
      losses: (steps taken,) float, the loss of each step's batch.
      figures: (step, figure) of each look, in order.
      best_step: how many steps `params` have taken.
    """

    params: Params
    opt_state: optax.OptState
    losses: np.ndarray
    figures: tuple[tuple[int, float], ...]
    best_step: int


def fit(
    recipe: Recipe,
    params: Params,
    examples: PyTree,
    plan: Plan,
    *,
    watch: Watch | None = None,
    checkpoints: Checkpoints | None = None,
) -> Fitted:
    """Trains a model: compiled steps in freshly shuffled epochs, watched and saved.

    The same seed gives the same run, in chunks of any size and, up to rounding, on any
    mesh. With `checkpoints`, a run that was stopped goes on when the same call is made
    again, and equals the run that was not, bit for bit; more `steps` train it longer.

    Args:
      recipe: how a batch changes the params; its compiled steps are kept for calls with
        the same recipe.
      params: where training starts; not changed.
      examples: tree of arrays with first axis n, such as (x, labels): what the
        objective takes as a batch. Arrays of JAX stay on the device, of NumPy's the
        rows of a call are sent: `jax.device_put` them where they fit.
      plan: steps, batch size, seed, and how they are executed.
      watch: figure that chooses the best params and may stop the run.
      checkpoints: where the run is saved; needs the package orbax-checkpoint.

    Returns:
      Fitted.

    Raises:
      TypeError: an argument is of another kind, or traced (see `fitting`).
      ValueError: before any training: no examples, lengths that differ, fewer examples
        than a batch, integers that JAX would wrap, no leaf that trains, checkpoints of
        another run, or behind `optimizers.skip_nonfinite` a label that is no class.
      FloatingPointError: a loss or figure is not finite; the first step is named, and
        where one is not finite, or has a label that is no class of a loss of
        `distill`, the first of these.
        Behind `optimizers.skip_nonfinite` such steps are skipped, and more than 100 in
        a row are a ValueError.
      ImportError: there are checkpoints, and orbax is not installed.

    Example:
      >>> model = lambda params, x: params * x
      >>> squared = lambda outputs, targets: (outputs - targets) ** 2
      >>> objective = jc.train.objectives.supervised(model, squared)
      >>> recipe = jc.train.Recipe(objective, optax.sgd(0.1))
      >>> x = np.linspace(-1, 1, 8, dtype=np.float32)
      >>> plan = jc.train.Plan(steps=100, batch_size=4)
      >>> jc.train.fit(recipe, jnp.float32(0), (x, 3 * x), plan).params
      Array(3., dtype=float32)
    """
    n = _check(recipe, params, examples, plan, watch, checkpoints)
    # Copies, each of its own, since the steps reuse their memory.
    state = jax.tree.map(jnp.array, initial(recipe, params, jax.random.key(plan.seed)))
    with opened(checkpoints, state, examples, plan) as saver:
        state, course = saver.restored(state, Course([], [], params))
        if has_guard(state.opt_state):
            check_labels(recipe, params, examples)
        steps = stepper(recipe, examples, plan, n)
        try:
            state = _run(steps, everywhere(state, plan), course, plan, watch, saver)
        except FloatingPointError as error:
            raise FloatingPointError(f"{error} {cause(recipe, params, examples)}") from error
    if watch is None:
        best, best_step = state.params, int(state.count)
    else:
        best, best_step = course.best, course.best_step
    losses = np.concatenate(course.losses)
    return Fitted(best, state.opt_state, losses, tuple(course.figures), best_step)


def _run(
    steps: Stepper, state: State, course: Course, plan: Plan, watch: Watch | None, saver: Saver
) -> State:
    """The state after the last step; what else was found is in the course."""
    guarded, waiting = has_guard(state.opt_state), []
    every = [plan.span, *(each.every for each in (watch, saver) if each and each.every)]
    begin = int(state.count)
    with bar(plan.title, plan.steps, begin=begin) as advance:
        for first, last in spans(begin, plan.steps, every):
            if course.is_over(watch):
                break
            state, losses = steps(state, first, last)
            waiting.append(losses)
            looks = watch is not None and _is_due(last, watch.every, plan)
            saves = _is_due(last, saver.every, plan)
            # Where nothing needs them now, losses are read while the next steps run.
            while len(waiting) > (not (looks or saves or last == plan.steps)):
                course.add(waiting.pop(0), may_be_nan=guarded)
            if guarded:
                check_skips(state.opt_state)
            if watch and looks:
                course.look(watch, state.params, last)
            if saves or course.is_over(watch):
                saver.save(state, course)
            advance(last, course.said)
    return state


def spans(begin: int, end: int, every: Iterable[int]) -> Iterator[tuple[int, int]]:
    """From step to step, never past a multiple of one of `every`.

    Example:
      >>> list(spans(90, 230, [50, 120]))
      [(90, 100), (100, 120), (120, 150), (150, 200), (200, 230)]
    """
    while begin < end:
        last = min(end, *(each * (begin // each + 1) for each in every))
        yield begin, last
        begin = last


def _is_due(count: int, every: int, plan: Plan) -> bool:
    return every > 0 and (count % every == 0 or count == plan.steps)


def _check(recipe, params, examples, plan, watch, checkpoints) -> int:
    """The number of examples, after every check that needs no training."""
    check_kind("fit", "recipe", recipe, Recipe, BUILD)
    check_kind("fit", "plan", plan, Plan, "For example train.Plan(steps=1000).")
    check_kind("fit", "watch", watch, Watch | None, "For example train.Watch(figure).")
    mend = "For example train.Checkpoints(folder)."
    check_kind("fit", "checkpoints", checkpoints, Checkpoints | None, mend)
    check_trained("fit", recipe, params)
    n = example_count("fit", examples)
    check_concrete("fit", "Inside, use train.fitting.", params=params, examples=examples)
    check_fits("fit", examples=examples)
    if plan.batch_size > n:
        raise ValueError(
            f"fit(examples of {n}, Plan(batch_size={plan.batch_size})) needs at least a batch."
        )
    return n
