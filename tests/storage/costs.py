"""The time that one call takes of its own thread, and the memory that it takes."""

import contextlib
import gc
import time
import tracemalloc
from collections.abc import Iterator


class Clock:
    """Seconds between the beginning and the end of `measured`."""

    seconds: float = 0.0


@contextlib.contextmanager
def measured() -> Iterator[Clock]:
    """Measures the block alone: no other thread, no collection of a long run's objects.

    Late in the suite one full collection takes a second, and the compiler's threads add
    theirs to the time of the process.
    """
    clock, collecting = Clock(), gc.isenabled()
    gc.disable()
    begin = time.thread_time()
    try:
        yield clock
    finally:
        clock.seconds = time.thread_time() - begin
        if collecting:
            gc.enable()


class Memory:
    """Bytes of Python and NumPy in a `traced` block: at most, and held at its end."""

    peak: int = 0
    held: int = 0


@contextlib.contextmanager
def traced() -> Iterator[Memory]:
    """Traces the block's memory, and ends with it: a failure leaves no tracing behind.

    Tracing takes six times as long as reading, so that time is measured apart from it.
    """
    memory = Memory()
    tracemalloc.start()
    try:
        yield memory
        memory.held, memory.peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
