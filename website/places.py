"""Which pages the site has, and which file each is made of."""

from website import links, records, reference

INCLUDED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "project.md",
    "benchmarks/README.md": "benchmarks/README.md",
    "examples/README.md": "gallery/programs.md",
}
"""Pages of the repository that stand outside docs/, and their places on the site."""


RESULTS = "benchmarks/results/"
"""The folder of the records, each of which is a page."""


def origin(place: str) -> str:
    """The file of the repository from which the links of a page lead."""
    if place.startswith("benchmarks/"):
        return "benchmarks/README.md"
    outside = {there: path for path, there in INCLUDED.items()}
    return outside.get(place, f"docs/{place}")


def place(path: str) -> str:
    """Where the site has a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith(RESULTS) and path.endswith(".json"):
        return path.replace(RESULTS, "benchmarks/").replace(".json", ".md")
    return INCLUDED.get(path) or links.shown_at(path)


def generated() -> dict[str, str]:
    """By place the text of the pages that stand in no file of docs/."""
    included = {
        there: (links.ROOT / path).read_text(encoding="utf-8") for path, there in INCLUDED.items()
    }
    return reference.pages() | included | records.pages()


def every() -> set[str]:
    """The places of all pages but those that show a source file."""
    folder = links.ROOT / "docs"
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")}
    return written | set(generated())
