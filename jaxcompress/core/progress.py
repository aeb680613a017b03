"""A progress bar for what runs long: shown on a terminal, nothing elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Advance = Callable[[int, str], None]


@contextlib.contextmanager
def bar(title: str, steps: int, *, begin: int = 0, after: float = 0.0) -> Iterator[Advance]:
    """Gives a function to call with the number of steps done and a short text.

    It is drawn on standard error and removed at the end, so that what a program prints
    stays as it is. Without a title, or where standard error is no terminal, nothing is
    drawn, and rich is not imported.

    Args:
      title: what runs.
      steps: number of steps at the end.
      begin: number of steps that were done before.
      after: seconds without a bar; what ends earlier shows none.

    Example:
      >>> with bar("folds", 2) as advance:
      ...     advance(1, "loss 0.5")
    """
    if not (title and sys.stderr.isatty()):
        yield lambda done, text: None
        return
    started, drawn = time.monotonic(), []
    with contextlib.ExitStack() as stack:

        def advance(done: int, text: str) -> None:
            if not drawn and time.monotonic() - started >= after:
                drawn.append(stack.enter_context(_drawn(title, steps, begin)))
            for update in drawn:
                update(done, text)

        if not after:
            advance(begin, "")
        yield advance


@contextlib.contextmanager
def _drawn(title: str, steps: int, begin: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[shown]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        task = drawn.add_task(title, total=steps, completed=begin, shown="")
        yield lambda done, text: drawn.update(task, completed=done, shown=text)
