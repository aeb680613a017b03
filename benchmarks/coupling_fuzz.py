"""Random programs: shrunk equals masked in all, and every axis rule is exercised.

    python -m benchmarks.coupling_fuzz --programs 2000

Every record holds one run of a hundred programs, so that a stopped benchmark goes on.
In float64, where rounding hides no mistake; every program is differentiated
where JAX can.
"""

import collections
import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from benchmarks import runner
from jaxcompress import graph
from jaxcompress.graph.surgery.axis_rules import RULES, rule_of
from jaxcompress.graph.surgery.axis_rules.rule import Body, Record
from jaxcompress.graph.surgery.walk import couple
from tests.graph import oracle
from tests.graph.random_programs import program

AT_ONCE = 100


def records(body: Body) -> Iterator[Record]:
    """The records of all equations, at any depth."""
    for record in body.records:
        yield record
        for inner in record.bodies:
            yield from records(inner)


def rule_name(primitive: str) -> str:
    """The name of the rule a primitive follows; many share one."""
    return rule_of(primitive).couple.__name__.removeprefix("couple_")


def measure(first: int) -> dict[str, Any]:
    """Checks the programs of a hundred seeds."""
    rules: collections.Counter = collections.Counter()
    removable, worst, failed = 0, 0.0, []
    for seed in range(first, first + AT_ONCE):
        model = program(seed)
        params, inputs = oracle.widened(model.params), oracle.widened(model.inputs)
        body = couple(model.fn, params, *inputs).body
        rules.update({rule_name(record.eqn.primitive.name) for record in records(body)})
        couplings = graph.couplings(model.fn, params, *inputs)
        removable += bool(couplings.families)
        removed = couplings.removal(chosen(couplings, seed))
        gradients = "looped" not in model.blocks
        apart = max(oracle.difference(model.fn, params, inputs, removed, gradients=gradients))
        worst = max(worst, apart)
        failed += [seed] if not apart <= oracle.TOLERANCE else []
    return {"removable": removable, "worst": worst, "failed": failed, "rules": dict(rules)}


def chosen(couplings: graph.Couplings, seed: int) -> dict[str, list[int]]:
    """Some units of most families, never all of one."""
    random = np.random.default_rng(seed)
    units = {}
    for family in couplings.families:
        count = random.integers(1, family.size)
        if random.random() < 0.7 or len(couplings.families) == 1:
            units[family.name] = np.sort(random.permutation(family.size)[:count]).tolist()
    return units


def main():
    """Runs what is missing, then sums up."""
    parser = runner.arguments(__doc__ or "")
    parser.add_argument("--programs", type=int, default=2000, help="how many random programs")
    options = parser.parse_args()
    total: collections.Counter = collections.Counter(dict.fromkeys(map(rule_name, RULES), 0))
    removable, worst, failed = 0, 0.0, []
    with jax.enable_x64(True):
        for first in range(0, options.programs, AT_ONCE):
            settings = {"programs": AT_ONCE, "tolerance": oracle.TOLERANCE}
            run = functools.partial(measure, first)
            result = runner.record(
                "coupling_fuzz", run, settings=settings, seed=first, out=options.out
            )
            figures = result["figures"]
            total.update(figures["rules"])
            removable += figures["removable"]
            worst = max(worst, figures["worst"])
            failed += figures["failed"]
    print(f"{options.programs} programs, {removable} with units to remove, worst {worst:.1e}")
    print(f"failed: {failed}")
    for rule, count in sorted(total.items(), key=lambda pair: pair[1]):
        print(f"{count:6d} {rule}")


if __name__ == "__main__":
    main()
