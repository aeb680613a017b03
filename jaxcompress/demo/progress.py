"""A progress bar on a terminal, plain lines elsewhere."""

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress(title: str, steps: int) -> Iterator[Callable[[str], None]]:
    """Gives a function to call after each step with a short text; "" keeps the last."""
    with (_bar if sys.stdout.isatty() else _line)(title, steps) as advance:
        yield advance


@contextlib.contextmanager
def _line(title: str, steps: int) -> Iterator[Callable[[str], None]]:
    shown = ""

    def advance(text: str) -> None:
        nonlocal shown
        shown = text or shown

    yield advance
    print(f"{title}: {steps} steps, {shown}", flush=True)


@contextlib.contextmanager
def _bar(title: str, steps: int) -> Iterator[Callable[[str], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[shown]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task(title, total=steps, shown="")

        def advance(text: str) -> None:
            bar.update(task, advance=1)
            if text:
                bar.update(task, shown=text)

        yield advance
