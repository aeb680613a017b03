"""What mkdocs calls while it builds the site, named in mkdocs.yml."""

import pathlib
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx import slugs

from website import links, navigation, places

HEADING = re.compile(r"^## `(\S+)`$", re.MULTILINE)
"""The heading of a method, which leads to the reference."""
WORKER = "assets/iframe-worker.js"
"""The script by which a site that is read from a folder can be searched."""
STYLE = "assets/style.css"
"""What the pages look like beyond the theme."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lists the pages of folders, and names headings as the code host does."""
    config.nav = navigation.navigation(config.nav, places.every())
    config.mdx_configs["toc"]["slugify"] = slugs.slugify(case="lower")
    config.extra["polyfills"] = [WORKER]
    config.extra_css.append(STYLE)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that stand in no file of docs/, and what pages lead to."""
    for there, text in places.generated().items():
        files.append(File.generated(config, there, content=text))
    for asset in (WORKER, STYLE):
        source = pathlib.Path(__file__).with_name(pathlib.PurePath(asset).name)
        files.append(File.generated(config, asset, abs_src_path=str(source)))
    for path in sorted(linked(files)):
        files.append(copied(path, config))
    return files


def linked(files: Files) -> set[str]:
    """The files that pages lead to and that are no pages themselves."""
    found = {
        links.resolved(target, places.origin(file.src_uri))
        for file in files.documentation_pages()
        if not file.src_uri.startswith("reference/")
        for target in links.targets(file.content_string)
    }
    shown = {path for path in found if places.place(path).startswith("source/")}
    return shown.union(*(inside(path) for path in shown))


def inside(folder: str) -> set[str]:
    """The files of a folder, with their paths from the root."""
    return {f"{folder}/{path.name}" for path in (links.ROOT / folder).glob("*.py")}


def copied(path: str, config: MkDocsConfig) -> File:
    """A file of the repository: itself, or a page with its text."""
    source = links.ROOT / path
    if path.endswith(links.COPIED):
        return File.generated(config, links.shown_at(path), abs_src_path=str(source))
    return File.generated(config, links.shown_at(path), content=listing(path, source))


def listing(path: str, source: pathlib.Path) -> str:
    """A page with a source file or the files of a folder, which searches leave out."""
    if source.is_dir():
        names = sorted(pathlib.PurePath(each).name for each in inside(path))
        text = "\n".join(f"- [`{name}`]({source.name}/{name}.md)" for name in names)
    else:
        text = f"``````python\n{source.read_text(encoding='utf-8')}``````"
    return f"---\nsearch:\n  exclude: true\n---\n# `{path}`\n\n{text}\n"


def on_page_content(html: str, **_) -> str:
    """Leaves source code out of searches."""
    shown = '<details class="mkdocstrings-source"'
    return html.replace(shown, f"{shown} data-search-exclude")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Makes the links of a page hold on the site."""
    here = page.file.src_uri
    if here.startswith(("reference/", "source/")):
        return markdown
    if here.startswith("methods/"):
        markdown = HEADING.sub(r"## [`\1`][jaxcompress.\1]", markdown)
    return links.rewritten(markdown, places.origin(here), here, places.place)
