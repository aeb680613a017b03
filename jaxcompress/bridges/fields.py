"""Sets the size fields of layers to the sizes of their smaller arrays.

For frameworks whose modules carry their layers. No framework is known here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from jaxcompress.bridges.agreement import Smaller
from jaxcompress.bridges.functional import Keywords
from jaxcompress.bridges.sizes import Axes, Readings, Size, changes, listed, reading_of

Modules = Mapping[str, Any]
"""Every module inside a model by its path, joined by "/"; the model itself is ""."""

Assign = Callable[[Any, str, Any], None]
"""(module, field, value): sets the field."""


class Layer(NamedTuple):
    """A module at its path, and the axes of the leaves in it."""

    path: str
    module: Any
    axes: Axes


def resized(layers: Iterable[Layer], readings: Readings, assign: Assign) -> Iterator[Size]:
    """Sets the fields of a framework's layers; their arrays are the smaller ones."""
    for path, module, axes in layers:
        reading = reading_of(module, readings)
        if reading is not None:
            keys = tuple(path.split("/")) if path else ()
            for size in changes(keys, module, reading, axes):
                assign(module, size.field, size.after)
                yield size


def given(
    caller: str, modules: Modules, sizes: Keywords, own: tuple[Size, ...], assign: Assign
) -> Iterator[Size]:
    """Sets the fields that the caller gave.

    Raises:
      ValueError: a name is of no field.
    """
    for name, after in sizes.items():
        path, _, field = name.rpartition("/")
        if not hasattr(modules.get(path), field):
            raise ValueError(
                f"{caller}(sizes={{{name!r}: {after}}}) names no field. Integers of your own "
                f"classes: {listed(own)}."
            )
        module = modules[path]
        yield Size(path or ".", type(module).__name__, field, getattr(module, field), after)
        assign(module, field, after)


def own_integers(modules: Modules, removed: Smaller, framework: str) -> Iterator[Size]:
    """Integers of classes that are not the framework's, above leaves that were cut."""
    for path, module in modules.items():
        prefix = f"{path}/" if path else ""
        cut = any(cut.leaf.startswith(prefix) for cut in removed.removal.cuts)
        if cut and not type(module).__module__.startswith(f"{framework}."):
            for field, value in vars(module).items():
                if type(value) is int:
                    yield Size(path or ".", type(module).__name__, field, value, value)
