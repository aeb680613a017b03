"""Which pages the site has, and which file each is made of."""

from website import links, reference

INCLUDED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "project.md",
    "benchmarks/README.md": "benchmarks/README.md",
    "examples/README.md": "gallery/programs.md",
}
"""Pages of the repository that stand outside docs/, and their places on the site."""


def origin(place: str) -> str:
    """The file of the repository that a page of the site is made of."""
    outside = {there: path for path, there in INCLUDED.items()}
    return outside.get(place, f"docs/{place}")


def place(path: str) -> str:
    """Where the site has a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return INCLUDED.get(path) or links.shown_at(path)


def generated() -> dict[str, str]:
    """By place the text of the pages that stand in no file of docs/."""
    included = {
        there: (links.ROOT / path).read_text(encoding="utf-8") for path, there in INCLUDED.items()
    }
    return reference.pages() | included


def every() -> set[str]:
    """The places of all pages but those that show a source file."""
    folder = links.ROOT / "docs"
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")}
    return written | set(generated())
