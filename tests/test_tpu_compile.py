"""A TPU's compiler takes every method, in seconds and without a wide temporary."""

import pytest

from benchmarks import tpu_compile
from benchmarks.tpu_programs import PROGRAMS


@pytest.mark.slow
@pytest.mark.skipif(bool(tpu_compile.missing()), reason=tpu_compile.missing())
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_tpus_compiler_takes_it(name):
    """Seconds of a processor, since others may be at work on the machine."""
    figures = tpu_compile.measure(PROGRAMS[name]())
    most = tpu_compile.SLOW.get(name, tpu_compile.MOST_SECONDS)
    assert figures["compile_cpu_seconds"] <= most
    if name.startswith(("execution", "kernel")):
        # Codes are read as they are: no float32 weight is formed in memory.
        assert figures["temporary_bytes"] < 4 * 1024 * 1024


def test_what_is_slow_is_a_program():
    assert set(tpu_compile.SLOW) <= set(PROGRAMS)
