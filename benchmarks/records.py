"""Which processor each record was made on, as the table in this folder's README.

    python -m benchmarks.records

Writes the table between its two marks anew; a test says when that is due.
"""

import collections
import pathlib

from benchmarks import runner

PAGE = pathlib.Path(__file__).parent / "README.md"
BEGIN, END = "<!-- made by benchmarks.records -->\n", "<!-- end -->\n"
COLUMNS = ("record", "runs", "processor", "cores", "accelerator", "jax")


def machine(environment: dict) -> tuple[str, str, str, str]:
    """Processor, cores, accelerator and JAX of one run, as the table says them."""
    device = environment["device"]
    return (
        environment["cpu"],
        str(environment["cores"]),
        "–" if device == "cpu" else device,
        environment["versions"]["jax"],
    )


def rows(results: pathlib.Path) -> list[tuple[str, ...]]:
    """One row for each record file and each machine that its runs were made on."""
    found = []
    for path in sorted(results.rglob("*.json")):
        name = path.relative_to(results).with_suffix("").as_posix()
        machines = collections.Counter(machine(run["environment"]) for run in runner.read(path))
        found += [(name, str(runs), *where) for where, runs in machines.most_common()]
    return found


def table(results: pathlib.Path = runner.RESULTS) -> str:
    """The rows in Markdown."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows(results)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def shown(page: str) -> str:
    """The table that stands on the page."""
    return page.partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    """Writes the table to the README."""
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    PAGE.write_text(before + BEGIN + table() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
