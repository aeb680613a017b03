"""Factorizations and solves: matrices stay whole.

Axes that count matrices pass, and so do the columns of right-hand sides.
"""

import itertools
from typing import Any

from jax import lax

from jaxcompress.graph.jaxprs import closed
from jaxcompress.graph.surgery.axis_rules.calls import couple_arrays
from jaxcompress.graph.surgery.axis_rules.creation import couple_nothing
from jaxcompress.graph.surgery.axis_rules.rule import Body, Dims, Emitter, Record, Rule, bind


def whole_from_the_end(count: int) -> Rule:
    """The rule of what takes the last `count` axes of its first operand together."""

    def couple(record: Record) -> list[Dims]:
        first = record.inputs[0]
        leading = first[: len(first) - count]
        for dims in record.inputs:
            couple_arrays(record, [leading], [dims[: len(leading)]])
            record.pin(*dims[len(leading) :])
        return [
            (*leading, *(record.pinned(size) for size in shape[len(leading) :]))
            for shape in record.output_shapes
        ]

    return Rule(couple)


def couple_triangular(record: Record) -> list[Dims]:
    """Pins the matrix; passes the columns of the right-hand side, solved one by one."""
    matrix, sides = record.inputs
    couple_arrays(record, [matrix[:-2]], [sides[:-2]])
    record.pin(*matrix[-2:], sides[-2] if record.params["left_side"] else sides[-1])
    return [sides]


def couple_tridiagonal(record: Record) -> list[Dims]:
    """Couples as for a triangular matrix, given as three diagonals."""
    *diagonals, sides = record.inputs
    for diagonal in diagonals:
        couple_arrays(record, [diagonal[:-1]], [sides[:-2]])
        record.pin(diagonal[-1])
    record.pin(sides[-2])
    return [sides]


def couple_solve(record: Record) -> list[Dims]:
    """Couples the solution with the right-hand side through product and solves."""
    jaxprs, sides = record.params["jaxprs"], _operands(record, record.inputs)[-1]
    if jaxprs.transpose_solve is None or len(record.eqn.outvars) != len(sides):
        return couple_nothing(record)
    # Solving and multiplying are walked together: what one keeps whole the other must.
    product, _, solve, transposed, _ = _operands(record, record.inputs)
    solving = record.body(closed(jaxprs.solve), [*solve, *sides])
    results = solving.results
    multiplying = record.body(closed(jaxprs.matvec), [*product, *results])
    back = record.body(closed(jaxprs.transpose_solve), [*transposed, *results])
    for found in (multiplying.results, back.results):
        couple_arrays(record, sides, found)
    record.bodies = (multiplying, solving, back)
    return list(results)


def _operands(record: Record, values: list[Any]) -> list[list[Any]]:
    """What product, its transpose, solve and its transpose hold; then the sides."""
    ends = list(itertools.accumulate(record.params["const_lengths"], initial=0))
    return [values[low:high] for low, high in itertools.pairwise((*ends, len(values)))]


def emit_solve(record: Record, values: list[Any], emitter: Emitter) -> list[Any]:
    """Emits `lax.custom_linear_solve`, whose derivatives use the same functions."""
    if not record.bodies:
        return bind(record, values)
    product, _, solve, transposed, sides = _operands(record, values)
    multiplying, solving, back = record.bodies

    def run(body: Body, held: list[Any]):
        return lambda _, x: emitter.run(body, [*held, *x])

    return lax.custom_linear_solve(
        lambda x: emitter.run(multiplying, [*product, *x]),
        sides,
        run(solving, solve),
        run(back, transposed),
    )


RULES = {
    "cholesky": whole_from_the_end(2),
    "custom_linear_solve": Rule(couple_solve, emit_solve),
    "eig": whole_from_the_end(2),
    "eigh": whole_from_the_end(2),
    "geqrf": whole_from_the_end(2),
    "hessenberg": whole_from_the_end(2),
    "householder_product": whole_from_the_end(2),
    "lu": whole_from_the_end(2),
    "lu_pivots_to_permutation": whole_from_the_end(1),
    "qr": whole_from_the_end(2),
    "schur": whole_from_the_end(2),
    "svd": whole_from_the_end(2),
    "triangular_solve": Rule(couple_triangular),
    "tridiagonal": whole_from_the_end(2),
    "tridiagonal_solve": Rule(couple_tridiagonal),
}
