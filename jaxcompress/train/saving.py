"""Checkpoints of a run by orbax: its state, how it went, and which run it is."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.digests import as_numpy, is_key, tree_digest
from jaxcompress.core.names import named_leaves
from jaxcompress.core.types import PyTree
from jaxcompress.train.course import Course
from jaxcompress.train.plan import Checkpoints, Plan
from jaxcompress.train.steps.step import State

KEPT = 2
ROWS = 256
"""Examples that tell one data set from another."""


@contextlib.contextmanager
def opened(
    checkpoints: Checkpoints | None, state: State, examples: PyTree, plan: Plan
) -> Iterator["Saver"]:
    """The saver of a run; without checkpoints one that saves nothing."""
    if checkpoints is None:
        yield Saver()
        return
    try:
        from orbax import checkpoint
    except ImportError as error:
        raise ImportError(
            "fit(checkpoints=...) needs orbax: pip install orbax-checkpoint."
        ) from error
    run = identity(state, examples, plan)
    folder = pathlib.Path(checkpoints.folder).absolute()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"fit(checkpoints=...): {folder} is a file. Choose a folder.")
    options = checkpoint.CheckpointManagerOptions(max_to_keep=KEPT)
    with checkpoint.CheckpointManager(folder, options=options) as manager:
        yield OrbaxSaver(checkpoint.args, manager, run, checkpoints.every, plan.steps)


class Saver:
    """Saves nothing and finds nothing."""

    every = 0

    def restored(self, state: State, course: Course) -> tuple[State, Course]:
        """Where the run stopped; what is given where nothing was saved."""
        return state, course

    def save(self, state: State, course: Course) -> None:
        """Writes a checkpoint, whole or not at all, and waits until it is there."""


class OrbaxSaver(Saver):
    """Saves and restores one run."""

    def __init__(self, args: Any, manager: Any, run: dict[str, Any], every: int, steps: int):
        self.args, self.manager, self.run = args, manager, run
        self.every, self.steps = every, steps

    def restored(self, state: State, course: Course) -> tuple[State, Course]:
        """Where the run stopped; what is given where nothing was saved.

        Raises:
          ValueError: the folder holds another run, a longer one, or one that cannot be
            read.
        """
        newest, args = self.manager.latest_step(), self.args
        if newest is None:
            return state, course
        run = self._read(newest, run=args.JsonRestore()).run
        self._check(run, newest)
        found = self._read(newest, tree=args.StandardRestore()).tree
        losses = [found["losses"]] if "losses" in found else []
        figures = [(int(step), float(figure)) for step, figure in found.get("figures", [])]
        best = unpacked(found.get("best", {}), course.best)
        return unpacked(found["state"], state), Course(losses, figures, best)

    def save(self, state: State, course: Course) -> None:
        """Writes a checkpoint, whole or not at all, and waits until it is there."""
        tree: dict[str, Any] = {"state": packed(state)}
        if course.losses:
            tree["losses"] = np.concatenate(course.losses)
        if course.figures:
            tree |= {"best": packed(course.best), "figures": np.array(course.figures, np.float64)}
        args = self.args
        composite = args.Composite(run=args.JsonSave(self.run), tree=args.StandardSave(tree))
        self.manager.save(int(state.count), args=composite)
        # The next step reuses the memory that is being written.
        self.manager.wait_until_finished()

    def _read(self, newest: int, **items: Any) -> Any:
        """Items of a checkpoint, or an error that names the folder."""
        try:
            return self.manager.restore(newest, args=self.args.Composite(**items))
        except Exception as error:
            raise ValueError(
                f"fit(checkpoints=...): {self.manager.directory / str(newest)} is no checkpoint of "
                "a run of fit, or is damaged. Remove it to go on from the one before, or choose "
                "another folder."
            ) from error

    def _check(self, run: dict[str, Any], newest: int) -> None:
        folder, mend = self.manager.directory, "Choose another folder, or remove it."
        for field, value in self.run.items():
            if run.get(field) != value:
                raise ValueError(
                    f"fit(checkpoints=...): {folder} holds another run, whose {field} is "
                    f"{run.get(field)} where this one's is {value}. {mend}"
                )
        if newest > self.steps:
            raise ValueError(
                f"fit(checkpoints=...): {folder} holds step {newest} of this run, beyond "
                f"Plan(steps={self.steps}). {mend}"
            )


def identity(state: State, examples: PyTree, plan: Plan) -> dict[str, Any]:
    """What two runs that may share checkpoints agree in.

    Functions cannot be told apart: the objective and the optimizer's numbers are not in
    it, its state is. Of the examples some rows are read.
    """
    leaves = named_leaves(examples)
    some = {name: _some(leaf) for name, leaf in leaves.items()}
    return {
        "seed": int(plan.seed),
        "batch_size": int(plan.batch_size),
        "number of examples": len(next(iter(leaves.values()))),
        "set of examples": tree_digest(some),
        "starting params": tree_digest(state.params),
        "optimizer state": tree_digest(jax.eval_shape(lambda: state.opt_state)),
    }


def packed(tree: PyTree) -> dict[str, np.ndarray]:
    """The leaves of a tree as NumPy arrays, numbered; empty ones cannot be saved."""
    leaves = enumerate(map(as_numpy, jax.tree.leaves(tree)))
    return {f"{number:06d}": leaf for number, leaf in leaves if leaf.size}


def unpacked(leaves: dict[str, np.ndarray], like: PyTree) -> PyTree:
    """The tree that was packed, in the structure of another, whose leaves fill in."""
    old, structure = jax.tree.flatten(like)
    new = [
        _as_jax(leaves[f"{number:06d}"], leaf) if f"{number:06d}" in leaves else leaf
        for number, leaf in enumerate(old)
    ]
    return structure.unflatten(new)


def _as_jax(leaf: np.ndarray, like: Any) -> jax.Array:
    if is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(leaf), impl=jax.random.key_impl(like))
    return jnp.asarray(leaf, cast(jax.Array, like).dtype)


def _some(array: Any) -> np.ndarray:
    """Rows of an array, evenly spaced."""
    rows = np.unique(np.linspace(0, len(array) - 1, ROWS).astype(int))
    return np.asarray(array[rows])
