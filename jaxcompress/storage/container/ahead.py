"""Work on one leaf after the other, done ahead by a few threads.

Digests, coders and copies leave Python's lock, so that threads share the processors.
Results come in the order of the items: the same tree gives the same bytes.
"""

import collections
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Begun = TypeVar("Begun")
Result = TypeVar("Result")

MOST_THREADS = 4

WINDOW_BYTES = 256 << 20
"""That several items may have together while they are worked on."""

_WORTH_BYTES = 1 << 20
"""Of all items; starting threads takes longer than the work on fewer."""


def threads() -> int:
    """How many work at once: one for each processor of this process, within reason."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return min(MOST_THREADS, len(os.sched_getaffinity(0)))
    return min(MOST_THREADS, os.cpu_count() or 1)


def results(
    items: Iterable[Item],
    begin: Callable[[Item], Begun],
    finish: Callable[[Begun], Result],
    size_bytes: Callable[[Item], int],
) -> Iterator[Result]:
    """What `finish(begin(item))` gives for each item, in order.

    As many items as there are threads are in memory at once beside the one that was
    given last, and no two of more than `WINDOW_BYTES` together. After an error nothing
    else is begun.

    Args:
      items: to work on.
      begin: runs in the caller's thread, for one item after the other, as reading does.
      finish: runs in any thread.
      size_bytes: of an item, roughly.
    """
    listed = [(item, size_bytes(item)) for item in items]
    # When Python ends, what is called then starts no thread any more.
    most = threads() if threading.main_thread().is_alive() else 1
    if most < 2 or len(listed) < 2 or sum(size for _, size in listed) < _WORTH_BYTES:
        yield from (finish(begin(item)) for item, _ in listed)
        return
    waiting: collections.deque[tuple[Future[Result], int]] = collections.deque()
    with ThreadPoolExecutor(most, thread_name_prefix="jaxcompress") as pool:
        try:
            held = 0
            for item, size in listed:
                while waiting and (len(waiting) >= most or held + size > WINDOW_BYTES):
                    done, freed = waiting.popleft()
                    yield done.result()
                    held -= freed
                    del done
                waiting.append((pool.submit(finish, begin(item)), size))
                held += size
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            for future, _ in waiting:
                future.cancel()
