"""Words one after the other, each in its own number of bits."""

from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.words import bytes_to_words, packed_bytes, words_to_bytes

plain = Coder(
    name="plain",
    version=1,
    least_bytes=packed_bytes,
    size_bytes=lambda words: packed_bytes(words.values.size, words.bits),
    encode=words_to_bytes,
    decode=bytes_to_words,
)
"""Every word in its own number of bits: n · bits / 8 bytes.

Also known as: dense packing, bit packing.
"""
