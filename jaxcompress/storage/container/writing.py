"""Writing what was planned: leaves coded ahead, in the order of the file."""

from typing import BinaryIO

from jaxcompress.core.progress import bar
from jaxcompress.storage.container import ahead, digests
from jaxcompress.storage.container.header import in_order
from jaxcompress.storage.container.plan import Plan, Stored

SILENT_SECONDS = 1.0
"""After which what still runs shows a progress bar."""


def fill(file: BinaryIO, planned: Plan, name: str) -> None:
    """Writes what was planned into an empty file, and leaves its position at the end.

    Args:
      file: open for writing.
      planned: what to write.
      name: of the file, beside the progress bar.
    """
    stored = [(each, planned.leaves[each]) for each, _ in in_order(planned.entries)]
    coded = ahead.results(
        stored,
        begin=lambda item: item[1],
        finish=_coded,
        size_bytes=lambda item: item[1].size_bytes,
    )
    found = {}
    # The header lists the digests of what follows it, and is as long without them.
    file.seek(len(planned.header({})))
    with bar(f"saving {name}", len(stored), after=SILENT_SECONDS) as advance:
        for (each, _), (pieces, digest) in zip(stored, coded, strict=True):
            for piece in pieces:
                file.write(piece)
            found[each] = digest
            advance(len(found), f"{file.tell() / 1e6:,.0f} MB")
    end = file.tell()
    file.seek(0)
    file.write(planned.header(found))
    file.seek(end)


def _coded(leaf: Stored) -> tuple[list[memoryview], str]:
    """The bytes of a leaf, and their digest."""
    digest, pieces = digests.LeafDigest(), []
    for piece in leaf.pieces():
        digest.seen(piece)
        pieces.append(piece)
    return pieces, digest.text
