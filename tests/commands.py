"""The commands that the pages show, so that tests run what a reader would type."""

import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).parent.parent
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
TOOLS = r"(?:export|make|pip|python|\.venv/bin/\w+|jaxcompress)"
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(rf"^ {{4}}({TOOLS} .*)$", re.MULTILINE)
INLINE = re.compile(rf"`({TOOLS} [^`]+)`")


def shown(page: pathlib.Path) -> list[str]:
    """The commands of a page: of its shell blocks, its indented lines and its prose."""
    text = page.read_text(encoding="utf-8")
    blocks = [match[2] for match in FENCED.finditer(text) if match[1] in ("sh", "bash", "shell")]
    prose = FENCED.sub("", text)
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    lines += INDENTED.findall(prose) + INLINE.findall(prose)
    return [line.partition("#")[0].strip() for line in lines]


def starting(page: str, beginning: str) -> str:
    """The one command of a page that begins like this."""
    (line,) = (line for line in shown(ROOT / page) if line.startswith(beginning))
    return line


def filled(line: str, **places) -> list[str]:
    """The words of a command with values in place of its placeholders."""
    for name, value in places.items():
        line = re.sub(rf"\b{name}\b", str(value), line)
    return shlex.split(line)
