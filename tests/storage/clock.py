"""The time that one call takes of its own thread."""

import contextlib
import gc
import time
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
