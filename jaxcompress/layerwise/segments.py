"""Where a flat program is cut: what runs between the leaves, and what is read at each.

    x ──► [ segment ]──► (what lives at the cut) ──► [ segment ] ──► …
                          │ data of q, k, v            │ data of the next leaf
                          ▼                            ▼
                        solve q, k, v                solve it

A segment ends where nothing more can run before leaves are solved that are ready to
be: their data are there, and depend on no leaf that is still to be solved.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jaxcompress.graph.sites import Site
from jaxcompress.layerwise.operations import Equation, Operation, Value, fused
from jaxcompress.layerwise.turns import Turn


class Direct(NamedTuple):
    """A matrix whose inputs are values of the cut.

    Attributes:
      turn: the matrix.
      site: where it meets them.
      data: what it meets.
    """

    turn: Turn
    site: Site
    data: Value


class Rerun(NamedTuple):
    """A matrix whose inputs are at no cut; observed by running on from the last one.

    Attributes:
      turn: the matrix.
      operations: all that lies between the cut and the last of its sites.
      homes: of those, the ones that hold its sites.
      reason: why the program cannot be cut there.
    """

    turn: Turn
    operations: tuple[Operation, ...]
    homes: tuple[Equation, ...]
    reason: str


class Stage(NamedTuple):
    """A segment and the leaves at its end.

    Attributes:
      shared: what is the same for all batches, run once.
      each: what is run for each batch.
      live: the values that the cut has to keep.
      readings: the matrices to solve, in this order, before the next segment runs.
    """

    shared: Operation
    each: Operation
    live: frozenset[Value]
    readings: tuple[Direct | Rerun, ...]


def stages(operations: Sequence[Operation]) -> list[Stage]:
    """The program in segments, up to its last leaf.

    Args:
      operations: of the flat program, in its order.
    """
    planner = _Planner(operations)
    found = []
    while planner.unsolved:
        found.append(planner.stage())
    return found


class _Planner:
    """The operations that are left, and the matrices that are not solved yet."""

    def __init__(self, operations: Sequence[Operation]):
        self.homes: dict[Turn, list[Equation]] = {}
        homes = [each for each in operations if isinstance(each, Equation) and each.turns]
        for home in homes:
            for turn in home.turns:
                self.homes.setdefault(turn, []).append(home)
        self.unsolved = set(self.homes)
        self.left = leading_to(homes, operations)

    def stage(self) -> Stage:
        """The next segment; its leaves count as solved after it."""
        ready, waiting, readings = [], [], []
        for position, operation in enumerate(self.left):
            turns = [turn for turn in operation.turns if turn in self.unsolved]
            if not isinstance(operation, Equation) or not turns:
                # What reads an unsolved leaf waits, so that it runs once, with the leaf
                # that is shipped. Its outputs tell: a layer of a stack waits for itself
                # alone, though the stack that it reads has layers yet to be solved.
                (waiting if self.waits(operation.outputs) else ready).append(operation)
            elif direct := self.direct(operation, turns):
                # The walk goes on: the next leaf may read the same data, as key and
                # value do after query, and is then solved at the same cut.
                readings += direct
                waiting.append(operation)
            else:
                # Leaves are solved in the order of the program, so the walk ends at the
                # first that is not ready. What comes after it could run in part, but
                # its results would be kept for longer than the program keeps them.
                waiting += self.left[position:]
                readings = readings or [self.rerun(turns[0], waiting)]
                break
        self.left = waiting
        self.unsolved -= {reading.turn for reading in readings}
        return stage_of(ready, waiting, readings)

    def waits(self, values: Iterable[Value]) -> bool:
        """Whether one of the values depends on a matrix that is not solved yet."""
        return not all(self.unsolved.isdisjoint(value.turns) for value in values)

    def direct(self, operation: Equation, turns: list[Turn]) -> list[Direct]:
        """The matrices that can be solved on one operand of the operation, if any."""
        if self.obstacle(operation, turns):
            return []
        (site,) = sites_in(operation)
        data = operation.operands[1 - site.position]
        return [] if self.waits([data]) else [Direct(turn, site, data) for turn in turns]

    def obstacle(self, operation: Equation, turns: list[Turn]) -> str:
        """Why the program cannot be cut in front of the operation; "" where it can."""
        kind = operation.step.eqn.primitive.name
        if operation.step.blocks:
            told = {"scan": "a scan that does not slice all leaves in it", "while": "a while loop"}
            return f"it is read inside {told.get(kind, f'a {kind}')}"
        if len(sites := sites_in(operation)) > 1:
            return f"its {kind} is of {len(sites)} weights"
        most = max(len(self.homes[turn]) for turn in turns)
        return f"it meets data at {most} sites" if most > 1 else ""

    def rerun(self, turn: Turn, waiting: Sequence[Operation]) -> Rerun:
        """How the data of a matrix are seen where no cut has them.

        All matrices before it are solved, those after it are as they were.
        """
        homes = self.homes[turn]
        reason = self.obstacle(homes[0], [turn]) or "what it meets depends on it"
        return Rerun(turn, tuple(leading_to(homes, waiting)), tuple(homes), reason)


def sites_in(operation: Equation) -> list[Site]:
    """The sites in the operation where its turns are."""
    names = {name for name, _ in operation.turns}
    sites = operation.step.sites.values()
    return [site for site in sites if names & {leaf.name for leaf in site.leaves}]


def leading_to(homes: Sequence[Operation], operations: Sequence[Operation]) -> list[Operation]:
    """The homes, and the operations whose results they need, in order."""
    found, ends, wanted = [], set(homes), set()
    for operation in reversed(operations):
        if operation in ends or not wanted.isdisjoint(operation.outputs):
            found.append(operation)
            wanted.update(operation.inputs)
    return found[::-1]


def stage_of(
    ready: Sequence[Operation], waiting: Sequence[Operation], readings: Sequence[Direct | Rerun]
) -> Stage:
    """The segment of operations that can run, before others wait for its leaves."""
    # Casts of weights, masks and positions are the same for all batches: they are
    # computed once, and kept once in place of once for each batch.
    shared = [each for each in ready if not each.outputs[0].varies]
    varying = [each for each in ready if each.outputs[0].varies]
    live = frozenset(value for each in waiting for value in each.inputs)
    read = live.union(*(each.inputs for each in varying))
    return Stage(
        fused(shared, _of(shared, read)), fused(varying, _of(varying, live)), live, tuple(readings)
    )


def _of(operations: Sequence[Operation], wanted: frozenset[Value]) -> list[Value]:
    return [value for each in operations for value in each.outputs if value in wanted]
