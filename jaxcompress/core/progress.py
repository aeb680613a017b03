"""A progress bar for what runs long: shown on a terminal, nothing elsewhere."""

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bar(title: str, steps: int, *, begin: int = 0) -> Iterator[Callable[[int, str], None]]:
    """Gives a function to call with the number of steps done and a short text.

    It is drawn on standard error and removed at the end, so that what a program prints
    stays as it is. Without a title, or where standard error is no terminal, nothing is
    drawn, and rich is not imported.

    Args:
      title: what runs.
      steps: number of steps at the end.
      begin: number of steps that were done before.

    Example:
      >>> with bar("folds", 2) as advance:
      ...     advance(1, "loss 0.5")
    """
    if not (title and sys.stderr.isatty()):
        yield lambda done, text: None
        return
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
