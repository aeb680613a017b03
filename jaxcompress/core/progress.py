"""A progress bar for what runs long: shown on a terminal, nothing elsewhere."""

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bar(title: str, steps: int) -> Iterator[Callable[[str], None]]:
    """Gives a function to call after each step with a short text; "" keeps the last.

    It is drawn on standard error and removed at the end, so that what a program prints
    stays as it is. Where standard error is no terminal nothing is drawn, and rich is
    not imported.

    Args:
      title: what runs.
      steps: number of calls to come.

    Example:
      >>> with bar("folds", 2) as advance:
      ...     advance("")
    """
    if not sys.stderr.isatty():
        yield lambda text: None
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
        task = drawn.add_task(title, total=steps, shown="")

        def advance(text: str) -> None:
            drawn.update(task, advance=1)
            if text:
                drawn.update(task, shown=text)

        yield advance
