"""Mutated files under right checksums: none crashes, hangs or is wrongly believed.

    python -m benchmarks.file_fuzz --files 100000

Every record holds one run of five thousand files, so that a stopped benchmark goes on.
Of every file the outcome and the time are taken, of one in twenty the memory that
Python and NumPy asked for; address space is limited for all. A share of the bound
is the peak over 8 MiB + 4 · (file + accepted), the header counted as `load` counts it.
"""

import collections
import functools
import pathlib
import tempfile
from typing import Any

from benchmarks import runner
from tests.storage.fuzzing import campaign
from tests.storage.fuzzing.corpus import CORPUS

AT_ONCE = 5000
TRACED = 20


def measure(first: int) -> dict[str, Any]:
    """The figures of the files of five thousand seeds."""
    with tempfile.TemporaryDirectory() as folder:
        return campaign.run(first, AT_ONCE, pathlib.Path(folder), TRACED)


def main() -> None:
    """Runs what is missing, then sums up."""
    parser = runner.arguments(__doc__ or "")
    parser.add_argument("--files", type=int, default=100_000, help="how many mutated files")
    options = parser.parse_args()
    settings = {
        "files": AT_ONCE,
        "traced": TRACED,
        "rows": [row.name for row in CORPUS],
        "longest_seconds": campaign.LONGEST_SECONDS,
        "constant_bytes": campaign.CONSTANT,
        "address_space_bytes": campaign.MORE_MEMORY,
    }
    outcomes: collections.Counter = collections.Counter()
    slowest, largest, failed = 0.0, 0.0, {}
    for first in range(0, options.files, AT_ONCE):
        run = functools.partial(measure, first)
        figures = runner.record("file_fuzz", run, settings=settings, seed=first, out=options.out)[
            "figures"
        ]
        outcomes.update(figures["outcomes"])
        slowest = max(slowest, figures["slowest_seconds"])
        largest = max(largest, figures["largest_share_of_bound"])
        failed |= figures["failed"]
    print(f"{options.files} files: {dict(outcomes)}")
    print(f"slowest {slowest:.3f} s, largest share of the bound {largest:.4f}")
    for seed, fault in failed.items():
        print(f"failed: {seed}: {fault}")


if __name__ == "__main__":
    main()
