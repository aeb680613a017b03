"""Writes the golden files of format version 3, with the code that first wrote them.

    python -m tests.storage.golden.write_version_3

They hold what files of version 2 of the same names hold, under all coders and a packed
header. The files are kept; this page is how they were made. Later code does not run it.
"""

import pathlib

from tests.storage.golden import cases

FOLDER = pathlib.Path(__file__).parent


def main() -> None:
    from jaxcompress import storage

    for name in cases.NAMES_3:
        path = FOLDER / "version_2" / f"{name}.safetensors"
        storage.save(
            FOLDER / "version_3" / path.name,
            storage.load(path),
            metadata=cases.METADATA if name == "containers" else {},
            removal=storage.load_removal(path),
            coders=storage.coders.SMALLEST,
        )


if __name__ == "__main__":
    main()
