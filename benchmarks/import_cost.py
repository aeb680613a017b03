"""What `import jaxcompress` costs over `import jax, optax`.

    python -m benchmarks.import_cost

Fresh processes in turn; each tells how long its own imports took.
"""

import statistics
import subprocess
import sys

from benchmarks import runner

WITHOUT = "import jax, optax"
WITH = "import jax, optax, jaxcompress"
CODE = "import time; begin = time.perf_counter(); {}; print(time.perf_counter() - begin)"
ROUNDS = 15


def seconds(imports: str) -> float:
    """How long a fresh process takes for the imports."""
    command = [sys.executable, "-c", CODE.format(imports)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure() -> dict:
    """Medians of both and of the difference, round by round."""
    seconds(WITH)
    pairs = [(seconds(WITHOUT), seconds(WITH)) for _ in range(ROUNDS)]
    return {
        "without_seconds": statistics.median(before for before, _ in pairs),
        "with_seconds": statistics.median(after for _, after in pairs),
        "difference_seconds": statistics.median(after - before for before, after in pairs),
        "differences_seconds": [round(after - before, 4) for before, after in pairs],
    }


def main() -> None:
    """Measures once and prints the median difference."""
    options = runner.arguments((__doc__ or "").partition("\n")[0]).parse_args()
    found = runner.record(
        "import_cost", measure, settings={"rounds": ROUNDS}, seed=0, out=options.out
    )
    print(f"import jaxcompress adds {found['figures']['difference_seconds']:.3f} s")


if __name__ == "__main__":
    main()
