"""Links between Markdown files, written for the code host, that also hold on the site.

On the code host a link leads to a file. On the site it leads to the page made of that
file, to a copy of a picture, or to a page that shows the source.
"""

import os
import pathlib
import re
from collections.abc import Callable, Iterator

ROOT = pathlib.Path(__file__).parent.parent
LINK = re.compile(r"(?<=\]\()(?P<target>[^)\s#]+)?(?P<anchor>#[^)\s]+)?(?=\))")
"""Where `[text](target#anchor)` leads."""
HOME = re.compile(
    r"https://(?:github\.com/jaxcompress/jaxcompress/blob"
    r"|raw\.githubusercontent\.com/jaxcompress/jaxcompress)/main/(.+)"
)
"""A file of this repository by its whole address, as the README names it."""
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]+`", re.MULTILINE | re.DOTALL)
"""What is shown as it stands: a link in it is none."""
COPIED = (".png", ".svg", ".json")
"""Endings of files that the site holds as they are."""


def targets(text: str) -> Iterator[str]:
    """The links of a page to files of the repository, without their anchors."""
    for match in LINK.finditer(CODE.sub("", text)):
        if match["target"] and is_ours(match["target"]):
            yield match["target"]


def is_ours(target: str) -> bool:
    """Whether a link leads to a file of the repository."""
    return "://" not in target or bool(HOME.fullmatch(target))


def resolved(target: str, origin: str) -> str:
    """The file of the repository that a link on the page `origin` leads to.

    A folder stands for its README, if it has one, as on the code host.
    """
    ours = HOME.fullmatch(target)
    path = ours[1] if ours else os.path.normpath(os.path.join(os.path.dirname(origin), target))
    return f"{path}/README.md" if (ROOT / path / "README.md").exists() else path


def shown_at(path: str) -> str:
    """Where the site has a file of the repository that is no page of its own."""
    return f"source/{path}" if path.endswith(COPIED) else f"source/{path}.md"


def rewritten(text: str, origin: str, here: str, place: Callable[[str], str]) -> str:
    """The text of a page with links that hold on the site.

    Args:
      text: Markdown.
      origin: the file that it stands in, from the repository's root.
      here: the page's place on the site.
      place: from a file of the repository to its place on the site.
    """

    def link(match: re.Match) -> str:
        target, anchor = match["target"] or "", match["anchor"] or ""
        if not target or not is_ours(target):
            return target + anchor
        return os.path.relpath(place(resolved(target, origin)), os.path.dirname(here)) + anchor

    parts, end = [], 0
    for code in CODE.finditer(text):
        parts += [LINK.sub(link, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(link, text[end:])])
