"""Digests: one for the bytes of each leaf, one for the header that lists them.

A leaf's is the first 12 bytes of its SHA-256 in URL-safe base64: 16 characters. The
header's is the SHA-256 of the header in which its own 64 digits are zeros. Since it
covers the digests of all leaves, it names the content of the whole file.
"""

import base64
import hashlib
import re

from jaxcompress.core.messages import shown
from jaxcompress.storage.container.errors import FileError

LEAF_BYTES, OWN_BYTES = 12, 32
NONE = "-" * 16
UNSEALED = "0" * 64
DIGITS = re.compile("[0-9a-f]{64}")


class LeafDigest:
    """The digest of bytes that come piece by piece."""

    def __init__(self):
        self._sha256 = hashlib.sha256()

    def seen(self, piece: memoryview) -> None:
        """Adds the next bytes."""
        self._sha256.update(piece)

    @property
    def text(self) -> str:
        return from_bytes(self._sha256.digest()[:LEAF_BYTES])


def from_bytes(raw: bytes) -> str:
    """The text of a leaf's digest."""
    return base64.urlsafe_b64encode(raw).decode()


def to_bytes(digest: str) -> bytes:
    """The bytes of a leaf's digest."""
    return base64.urlsafe_b64decode(digest)


def check_leaf(name: str, digest: LeafDigest, expected: str) -> None:
    """Raises a FileError where the bytes of a leaf are not those that were written."""
    if digest.text != expected:
        raise FileError(
            f"the checksum of leaf {shown(name)} does not match: it was altered. Copy the file "
            "again."
        )


def sealed(header: bytes) -> bytes:
    """The header with its own digest in the place of the zeros."""
    return with_digits(header, hashlib.sha256(header).hexdigest())


def with_digits(header: bytes, digits: str) -> bytes:
    """The header with these digits in the place of the zeros."""
    return header.replace(_field(UNSEALED), _field(digits))


def unsealed(header: bytes, digest: str) -> bytes:
    """The header with zeros in the place of its digest."""
    return header.replace(_field(digest), _field(UNSEALED))


def digits_of(header: bytes) -> str:
    """The digest that a sealed header holds."""
    # Inside a text every quote is escaped, so only the checksum itself looks like this.
    return re.findall(rb'"sha256":"([0-9a-f]{64})"', header)[0].decode()


def check_header(header: bytes, digest: str, what: str = "the header") -> None:
    """Raises a FileError where the header is not the one that was sealed."""
    if hashlib.sha256(unsealed(header, digest)).hexdigest() != digest:
        raise FileError(f"the checksum of {what} does not match: it was altered. Copy it again.")


def _field(digest: str) -> bytes:
    return f'"sha256":"{digest}"'.encode()
