"""Saves trees as self-contained files, describes the files and measures sizes.

    files    save, load, load_leaf of one leaf, load_removal, describe
             open: a mapping whose leaves are read when they are asked for
    sharding save_shards: several files and an index, read by the same verbs
    deltas   save_delta, load_delta: a tree as its difference to another file;
             save_bit_delta: one bit of it; save_low_rank_delta: two thin factors
    sizes    size: bytes in a file, in memory, and dense
    breakdown  where the bytes of a file go
    coders   what writes the numbers of a file: sets of coders for `save(coders=)`

A file holds params of any structure, compressed leaves among them, bit for bit.
"""

from jaxcompress.core import exports
from jaxcompress.storage import coders as coders
from jaxcompress.storage.bit_deltas import BitDeltaSize as BitDeltaSize
from jaxcompress.storage.bit_deltas import save_bit_delta as save_bit_delta
from jaxcompress.storage.breakdown import Breakdown as Breakdown
from jaxcompress.storage.breakdown import LeafBytes as LeafBytes
from jaxcompress.storage.breakdown import breakdown as breakdown
from jaxcompress.storage.container.errors import FileError as FileError
from jaxcompress.storage.delta_reading import load_delta as load_delta
from jaxcompress.storage.deltas import DeltaSize as DeltaSize
from jaxcompress.storage.deltas import save_delta as save_delta
from jaxcompress.storage.description import FileReport as FileReport
from jaxcompress.storage.description import StoredLeaf as StoredLeaf
from jaxcompress.storage.description import describe as describe
from jaxcompress.storage.files import load as load
from jaxcompress.storage.files import load_leaf as load_leaf
from jaxcompress.storage.files import save as save
from jaxcompress.storage.low_rank_deltas import Factors as Factors
from jaxcompress.storage.low_rank_deltas import LowRankDeltaSize as LowRankDeltaSize
from jaxcompress.storage.low_rank_deltas import save_low_rank_delta as save_low_rank_delta
from jaxcompress.storage.opening import OpenFile as OpenFile
from jaxcompress.storage.opening import open as open
from jaxcompress.storage.removals import load_removal as load_removal
from jaxcompress.storage.sharding import save_shards as save_shards
from jaxcompress.storage.sizes import Size as Size
from jaxcompress.storage.sizes import size as size

exports.list_imports(globals())
