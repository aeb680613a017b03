"""Words one after the other, each in its own number of bits."""

from jaxcompress.storage.coders.coder import Coder
from jaxcompress.storage.coders.words import bytes_to_words, packed_bytes, words_to_bytes

plain: Coder = Coder(
    name="plain",
    version=1,
    fits=lambda layout: True,
    least_bytes=lambda layout: packed_bytes(layout.size, layout.bits),
    size_bytes=lambda words: packed_bytes(words.values.size, words.bits),
    encode=lambda words: words_to_bytes(words.values, words.bits),
    decode=lambda coded, layout: bytes_to_words(coded, layout.size, layout.bits),
)
"""Every word in its own number of bits: n · bits / 8 bytes.

Also known as: dense packing, bit packing.
"""
