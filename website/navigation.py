"""The navigation of mkdocs.yml, in which an entry `folder/` stands for its pages."""

from collections.abc import Iterable, Iterator
from typing import Any


def navigation(entries: list, places: Iterable[str]) -> list:
    """The navigation with the pages of every folder that it names.

    Args:
      entries: as mkdocs.yml has them: pages, lists, or titles with either.
      places: the pages of the site.
    """
    return expanded(entries, set(places).difference(pages(entries)))


def expanded(entry: Any, places: Iterable[str]) -> Any:
    """An entry of the navigation, with sections for the folders that it names."""
    if isinstance(entry, dict):
        return {title: expanded(inner, places) for title, inner in entry.items()}
    if isinstance(entry, list):
        return [each for one in entry for each in several(expanded(one, places))]
    return section(entry, places) if entry.endswith("/") else entry


def several(entry: Any) -> list:
    """An entry as a list: the pages of a folder stand in the list that names it."""
    return entry if isinstance(entry, list) else [entry]


def section(folder: str, places: Iterable[str]) -> list:
    """The pages of a folder by name, its README first, each folder in it a section."""
    inside = [place.removeprefix(folder) for place in places if place.startswith(folder)]
    readme = [f"{folder}README.md"] if "README.md" in inside else []
    folders = {f"{name.partition('/')[0]}/" for name in inside if "/" in name}
    names = folders.union(name for name in inside if "/" not in name and name != "README.md")
    return readme + [
        {name.rstrip("/"): section(f"{folder}{name}", places)} if name in folders else folder + name
        for name in sorted(names)
    ]


def pages(entry: Any) -> Iterator[str]:
    """The pages that an entry lists."""
    if isinstance(entry, str):
        yield entry
    else:
        for inner in entry.values() if isinstance(entry, dict) else entry:
            yield from pages(inner)
