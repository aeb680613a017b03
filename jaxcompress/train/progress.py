"""A progress bar on a terminal, and nothing elsewhere."""

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress(title: str, begin: int, steps: int) -> Iterator[Callable[[int, str], None]]:
    """Gives a function to call with the steps done and a short text."""
    if not (title and sys.stdout.isatty()):
        yield lambda done, text: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[shown]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task(title, total=steps, completed=begin, shown="")
        yield lambda done, text: bar.update(task, completed=done, shown=text)
