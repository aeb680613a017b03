"""Which names of a module are public, for `dir`, completion, `help` and the reference.

The imports of a package and the definitions of a module are the only lists. Both
functions are called by the module itself, with its `globals()`.
"""

from collections.abc import Iterable
from types import ModuleType
from typing import Any


def list_imports(names: dict[str, Any], *, lazily: Iterable[str] = ()) -> None:
    """Makes what a package imports public: `__all__` and `dir` become these names.

    Modules count where they list names themselves. The others are there because Python
    binds every loaded module in its package, or for the package's own use, for which it
    imports modules alone.

    Args:
      names: the package's `globals()`, at the end of its `__init__.py`.
      lazily: names that its `__getattr__` imports when they are first touched.
    """
    found = {name for name, value in names.items() if _is_listed(value) and _is_public(name)}
    # Functions and families first, then the types that they take and give. `__all__`
    # keeps that order, for `import *` and whatever reads it. `dir` sorts what it is
    # given, upper case first, and so does what completes by it, as Python's prompt.
    # Editors that read the source rank names by rules of their own.
    names["__all__"] = sorted(found.union(lazily), key=str.swapcase)
    names["__dir__"] = names["__all__"].copy


def list_definitions(names: dict[str, Any]) -> None:
    """Makes what a module defines public: `dir` gives the names bound after this call.

    `help` and the reference need no `__all__` to tell definitions from imports.

    Args:
      names: the module's `globals()`, right after its imports.
    """
    imported = set(names)
    names["__dir__"] = lambda: sorted(filter(_is_public, names.keys() - imported))


def _is_public(name: str) -> bool:
    return not name.startswith("_")


def _is_listed(value: Any) -> bool:
    if not isinstance(value, ModuleType):
        return True
    return value.__name__.startswith("jaxcompress.") and "__dir__" in vars(value)
