"""What griffe reads of the source, as Python itself would understand it."""

import griffe


class AsImported(griffe.Extension):
    """Exported names lead to what Python gives by them, and examples are examples."""

    def on_package(self, *, pkg: griffe.Module, **_) -> None:
        """Puts functions in the place of the files that are called as they are.

        `from splits.k_fold import k_fold` binds the function, not the file `k_fold.py`,
        which griffe keeps under the name.
        """
        found = [
            (module, name, definition)
            for module in modules(pkg)
            for name, path in module.imports.items()
            if (definition := defined(pkg, path)) and passes_a_namesake(module, name, path)
        ]
        for module, name, definition in found:
            module.set_member(name, griffe.Alias(name, definition, parent=module))

    def on_instance(self, *, obj: griffe.Object, **_) -> None:
        """Titles the examples by the word that makes them a section."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")


def modules(module: griffe.Module):
    """The module and all in it."""
    yield module
    for inner in module.modules.values():
        if not inner.is_alias:
            yield from modules(inner)


def defined(package: griffe.Module, path: str) -> griffe.Object | griffe.Alias | None:
    """What a file defines at a path; nothing for what it imports itself."""
    found: griffe.Object | griffe.Alias | None = package
    for name in path.removeprefix(f"{package.path}.").split("."):
        found = found.members.get(name)
        if found is None or found.is_alias:
            return None
    return None if found.is_module else found


def passes_a_namesake(module: griffe.Module, name: str, path: str) -> bool:
    """Whether the way to a definition passes a file with the name of an export."""
    owner, _, file = path.rpartition(".")[0].rpartition(".")
    return owner == module.path and file in module.imports
