"""Coders: what each writes, one row per coder, and what all share."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from jaxcompress.storage.coders import (
    BALANCED,
    CODERS,
    FAST,
    SMALLEST,
    Coder,
    bitmask,
    context,
    context_planes,
    few_lanes,
    gaps,
    huffman,
    lines,
    occupancy,
    plain,
    planes,
    rans,
    runs,
    trellis,
)
from jaxcompress.storage.coders.choice import checked_coders, coder_named
from jaxcompress.storage.coders.fields import (
    bytes_to_fields,
    field_bytes,
    fields_to_bytes,
    from_unary,
    to_unary,
    unary_bytes,
)
from jaxcompress.storage.coders.frequencies import from_table, normalized, table
from jaxcompress.storage.coders.gaps import entries
from jaxcompress.storage.coders.huffman import lengths_of
from jaxcompress.storage.coders.selection import smallest
from jaxcompress.storage.coders.words import WIDTHS, Layout, Words, word_dtype
from jaxcompress.storage.container.dtypes import array_words, known_dtype
from jaxcompress.storage.container.errors import FileError
from jaxcompress.storage.sizes import entropy_bits
from tests.storage.trellises import of_codes, on_trellis


def flat(values: Iterable[int], bits: int) -> Words:
    """Words in a row."""
    x = np.array(values, word_dtype(bits))
    return Words(x, Layout(bits, x.shape))


GOLDEN = flat([0, 3, 0, 1, 7, 0, 0, 2, 3, 3, 0, 0, 1, 0, 6, 0, 0, 0, 3, 1, 0, 0, 0, 5], 3)
WIDE = flat(
    np.repeat([1.0, 0.0, -0.75, 0.5, 1.25, -0.0, 0.875], [9, 40, 3, 4, 5, 1, 7])
    .astype("<f4")
    .view("<u4"),
    32,
)
ROW, COLUMN = np.divmod(np.arange(8 * 90), 90)
UNEVEN = Words(
    np.where((COLUMN % (3 + 7 * ROW) == ROW) ^ (ROW == 6), 1 + COLUMN % 3, 0).astype(np.uint8),
    Layout(3, (8, 90)),
)


class Case(NamedTuple):
    coder: Coder
    size_bytes: Callable[[Words], tuple[float, float]]
    """Words to the fewest and the most bytes that they may take."""
    golden: str
    """The bytes of `words`, in hexadecimal: other ones are another version."""
    words: Words = GOLDEN


def whole_bytes(bits: int) -> int:
    return -(-bits // 8)


def of_plain(words: Words) -> tuple[int, int]:
    size_bytes = whole_bytes(words.values.size * words.bits)
    return size_bytes, size_bytes


def of_bitmask(words: Words) -> tuple[int, int]:
    present = int(np.sum(words.values != 0))
    size_bytes = whole_bytes(words.values.size) + whole_bytes(present * words.bits)
    return size_bytes, size_bytes


def of_rans(words: Words) -> tuple[float, float]:
    """The entropy, and a lane and at most 2 bytes of table for each possible word."""
    least = entropy_bits(words.values) / 8
    return 0.98 * least, 1.01 * least + 8 + 2 * 2**words.bits


def of_context(words: Words) -> tuple[float, float]:
    """Less than the entropy where rows or columns differ, and more while it learns."""
    least = entropy_bits(words.values) / 8
    return 0, 1.2 * least + 12 + sum(words.layout.shape) / 4 + 1.5 * 2**words.bits


def of_trellis(words: Words) -> tuple[float, float]:
    """As `context`, or a byte more than `plain`."""
    return 0, max(of_context(words)[1], of_plain(words)[1] + 1)


def of_planes(words: Words) -> tuple[float, float]:
    """As many words as they are, or as many as are not zero after a mask."""
    size, present = words.values.size, int(np.sum(words.values != 0))
    raw = min(size * words.bits, size + present * words.bits) / 8
    return 0, raw + 3 + words.bits // 8


def of_huffman(words: Words) -> tuple[float, float]:
    """The entropy and up to a bit for each word, a length for each that may be."""
    least = entropy_bits(words.values) / 8
    return least, 1.01 * least + words.values.size / 8 + 8 + 2**words.bits / 2


def of_gaps(words: Words) -> tuple[float, float]:
    """Two codes for each word that is not zero, or not more than gaps and words."""
    present = int(np.sum(words.values != 0))
    entries = present + words.values.size // 4
    return 0, entries * (2 + words.bits) / 8 + 16


def of_runs(words: Words) -> tuple[float, float]:
    """At most a byte for each run, and its bits for each word that is not zero."""
    present = words.values != 0
    lengths = 2 + int(np.sum(present[1:] != present[:-1]))
    whole = whole_bytes(words.values.size * words.bits)
    return 0, max(whole, lengths + int(np.sum(present)) * words.bits / 8) + 16


def of_lines(words: Words) -> tuple[float, float]:
    """At most a mask, two bytes and three bits for each line, and the other words."""
    present = int(np.sum(words.values != 0))
    whole, size = whole_bytes(words.values.size * words.bits), words.values.size
    return 0, max(whole, size / 8 + 3 * (size / 8 + 1) + present * words.bits / 8) + 16


CASES = [
    Case(plain, of_plain, "1872401b1018c002a0"),
    Case(bitmask, of_bitmask, "9a538ccbb5c54b01"),
    Case(rans, of_rans, "00301404903185c4ec0e014602004ad6b54e7148"),
    Case(context, of_context, "c5b4765bacd0b41405bb60f22a54"),
    Case(
        planes,
        of_planes,
        "0100ff0100000000feff1f007f7f7f7f7f7f7f7f7f7e7e7e7e7e7e7e7f7f7f7f7f007e7e7e7e7e7e7e0000000000000000000080808000000000404040404000c0c0c0c0c0c0c0000000000000000000000000000000000000000000000000000000000000000000000000000000000101010000000000000000000100000000000000",
        WIDE,
    ),
    Case(
        context_planes,
        of_planes,
        "0100ff0100000000feff1f027e0c92a900ce5b9170000495e12b020012dc1d7a7e927486000000155f7225ab3d2cd6020001e5020006dc200f286f27",
        WIDE,
    ),
    Case(huffman, of_huffman, "003125505532000000b2cf29e6a1e102"),
    Case(gaps, of_gaps, "020b0085603300cbb5c54b01"),
    Case(
        runs,
        of_runs,
        "00014425780100110030e610cea3ff39a1ff1f3b6e3e00fd7e2b002184104208218410420821841042082184100442082184105a6bad455a6bec3d07e101c0c807003f6a75a40001002400f1fae1803e51e9f81a33e15e4d2ff5a54f7c7632c860b381bed014409680a8d727e8ed",
        UNEVEN,
    ),
    Case(
        lines,
        of_lines,
        "00012e00001e090604030358020049b2255555010200ec3fe45e55c6374992244992244992244992499224932493acc98c01002400f1fae1803e51e9f81a33e15e4d2ff5a54f7c7632c860b381bed014409680a8d727e8ed",
        UNEVEN,
    ),
    Case(
        trellis,
        of_trellis,
        "018077e299e0b86fc72dd18c7196c164f99e04eb",
        of_codes(on_trellis((5, 12), 2), 4),
    ),
]
every_coder = pytest.mark.parametrize("case", CASES, ids=lambda case: case.coder.name)


def widths(coder: Coder) -> list[int]:
    """Bits of the words that it codes."""
    return [bits for bits in WIDTHS if coder.fits(Layout(bits, (9,)))]


every_width = pytest.mark.parametrize(
    ("case", "bits"),
    [(case, bits) for case in CASES for bits in widths(case.coder)],
    ids=lambda value: value.coder.name if isinstance(value, Case) else str(value),
)


def test_every_coder_has_a_row_and_a_name_of_its_own():
    assert [case.coder for case in CASES] == list(CODERS)
    assert [coder_named(coder.name, coder.version) for coder in CODERS] == list(CODERS)


@every_coder
def test_a_version_writes_the_same_bytes_for_ever(case):
    assert case.coder.encode(case.words).tobytes().hex() == case.golden


@pytest.mark.parametrize("sets", [(FAST, BALANCED), (BALANCED, SMALLEST)])
def test_a_slower_set_has_all_of_the_faster(sets):
    assert set(sets[0]) <= set(sets[1])


def test_plain_is_always_allowed_and_the_order_is_that_of_files():
    assert checked_coders("save", (rans, bitmask)) == (plain, bitmask, rans)
    assert checked_coders("save", iter(())) == (plain,)


UNKNOWN = plain._replace(name="own")


@pytest.mark.parametrize("coders", [plain, "rans", [UNKNOWN], [np.ones(3)], 5, None])
def test_what_is_no_coder_of_files_is_refused(coders):
    with pytest.raises(TypeError, match=r"save\(coders=.*Pass storage.coders.FAST, "):
        checked_coders("save", coders)


@pytest.mark.parametrize("named", [("zip", 1), ("plain", 2), (["plain"], 1), ("plain", None)])
def test_an_unknown_coder_is_refused(named):
    with pytest.raises(ValueError, match=r"no coder .* of version .*, only plain 1, bitmask 1, r"):
        coder_named(*named)


@st.composite
def words(draw, widths: Sequence[int] = WIDTHS) -> Words:
    """Words of any width, shape and sparsity, all alike or not."""
    bits = draw(st.sampled_from(widths))
    shape = tuple(draw(st.lists(st.integers(0, 7), max_size=3)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    highest = draw(st.sampled_from([0, 1, 2**bits - 1]))
    values = random.integers(0, highest, shape, word_dtype(bits), endpoint=True)
    pruned = random.random(shape) < draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    layout = Layout(bits, shape, inputs_last=draw(st.booleans()))
    return Words(np.where(pruned, word_dtype(bits).type(0), values).reshape(-1), layout)


def check(case: Case, given: Words):
    """The words come back from as many bytes as were promised."""
    coded = case.coder.encode(given)
    assert (coded.dtype, coded.ndim) == (np.uint8, 1)
    assert coded.size == case.coder.size_bytes(given) >= case.coder.least_bytes(given.layout)
    least, most = case.size_bytes(given)
    assert least <= coded.size <= most
    decoded = case.coder.decode(coded, given.layout)
    assert decoded.dtype == given.values.dtype
    np.testing.assert_array_equal(decoded, given.values)


@every_coder
@hypothesis.given(data=st.data())
def test_words_come_back_bit_for_bit_in_the_promised_bytes(case, data):
    check(case, data.draw(words(widths(case.coder))))


@every_width
def test_words_of_every_kind_come_back(case, bits):
    random, highest = np.random.default_rng(bits), 2**bits - 1
    some = [int(x) for x in random.geometric(0.5, 600) - 1]
    kinds = {
        "none": [],
        "zero": [0],
        "one": [highest],
        "constant": [highest] * 500,
        "distinct": range(min(highest, 300) + 1),
        "noise": random.integers(0, highest, 300, endpoint=True, dtype=np.uint64),
        "skewed": [min(each, highest) for each in some],
        "alternating": [0, highest] * 300,
        "rare": [0] * 599 + [highest],
    }
    for values in kinds.values():
        check(case, flat(values, bits))


@every_width
def test_a_byte_too_few_or_too_many_is_refused(case, bits):
    given = flat(np.arange(19) % 2, bits)
    coded = case.coder.encode(given)
    for wrong in (coded[:0], coded[:-1], coded[:-2], np.append(coded, coded[:1])):
        with pytest.raises(FileError, match=r"do(es)? not fit"):
            case.coder.decode(wrong, given.layout)
    with pytest.raises(FileError):
        case.coder.decode(np.append(coded, coded[:2]), given.layout)


@every_coder
@hypothesis.given(data=st.data())
def test_any_bytes_are_words_or_refused(case, data):
    given = data.draw(words(widths(case.coder)))
    coded = case.coder.encode(given).copy()
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    for place in random.integers(0, max(coded.size, 1), 3)[: coded.size]:
        coded[place] ^= random.integers(1, 256, dtype=np.uint8)
    try:
        decoded = case.coder.decode(coded, given.layout)
    except FileError:
        return
    assert (decoded.dtype, decoded.shape) == (given.values.dtype, given.values.shape)
    assert np.all(decoded <= np.uint64(2**given.bits - 1))


@every_coder
def test_more_words_than_bytes_can_tell_take_no_memory(case):
    with pytest.raises(ValueError, match=r"do(es)? not fit 3 bytes"):
        case.coder.decode(np.zeros(3, np.uint8), Layout(widths(case.coder)[0], (10**18,)))


@every_coder
def test_encoding_repeats_exactly(case):
    given = flat(np.arange(9) % 2, widths(case.coder)[0])
    np.testing.assert_array_equal(case.coder.encode(given), case.coder.encode(given))


@hypothesis.given(given=words())
def test_the_smallest_is_chosen_and_the_earlier_of_two(given):
    coder, size_bytes = smallest(given, CODERS)
    fitting = [one for one in CODERS if one.fits(given.layout)]
    sizes = [one.encode(given).size for one in fitting]
    assert (size_bytes, fitting.index(coder)) == (min(sizes), sizes.index(min(sizes)))


@pytest.mark.parametrize("bits", [4, 8])
def test_many_words_come_close_to_their_entropy(bits):
    numbers = np.random.default_rng(0).laplace(0, 2 ** (bits - 4), 10**6)
    values = np.round(numbers).astype(int) % 2**bits
    given = flat(values, bits)
    assert rans.size_bytes(given) <= 1.02 * entropy_bits(given.values) / 8


def sparse_layer(rows: int, columns: int) -> np.ndarray:
    """Signed levels (rows, columns) of pixels 16 to a line, where units have fields."""
    random = np.random.default_rng(0)
    y, x = np.divmod(np.arange(rows), 16)
    centres = random.uniform(2, 14, (2, columns))
    near = np.exp(-((y[:, None] - centres[0]) ** 2 + (x[:, None] - centres[1]) ** 2) / 6)
    present = random.random((rows, columns)) < 0.6 * near
    signs = np.where(y[:, None] < centres[0], -1, 1)
    return np.where(present, signs * random.geometric(0.7, (rows, columns)), 0).clip(-8, 7)


def test_contexts_beat_single_words_where_inputs_and_outputs_differ():
    levels = sparse_layer(256, 80)
    for matrix, inputs_last in ((levels, False), (levels.T, True)):
        values = np.ascontiguousarray(matrix % 16).reshape(-1).astype(np.uint8)
        given = Words(values, Layout(4, matrix.shape, inputs_last))
        assert context.size_bytes(given) <= 0.9 * entropy_bits(values) / 8
        np.testing.assert_array_equal(context.decode(context.encode(given), given.layout), values)


def test_a_batch_of_matrices_is_read_by_its_inputs():
    values = np.arange(24, dtype=np.uint8)
    inputs_first = Words(values, Layout(5, (2, 3, 4)))
    stored = values.reshape(2, 3, 4).swapaxes(1, 2)  # (batch, outputs, inputs)
    inputs_last = Words(stored.reshape(-1), Layout(5, stored.shape, inputs_last=True))
    np.testing.assert_array_equal(context.encode(inputs_first), context.encode(inputs_last))


def test_a_large_array_is_not_for_contexts():
    assert context.fits(Layout(8, (2**11, 2**11)))
    assert not context.fits(Layout(8, (2**11, 2**11 + 1)))
    with pytest.raises(FileError, match="do not fit"):
        context.decode(np.zeros(9, np.uint8), Layout(8, (2**22 + 1,)))


@pytest.mark.parametrize("columns", [occupancy.SEGMENT, occupancy.SEGMENT + 3])
def test_rows_of_any_length_are_coded_in_segments(columns):
    random = np.random.default_rng(1)
    values = np.where(random.random((3, columns)) < 0.05, 1, 0).astype(np.uint8)
    check(CASES[CODERS.index(context)], Words(values.reshape(-1), Layout(1, values.shape)))


def test_a_huffman_code_is_that_of_the_textbook():
    counts = np.array([45, 13, 12, 16, 9, 5, 0, 0])  # Cormen et al., section 16.3
    np.testing.assert_array_equal(lengths_of(counts), [1, 3, 3, 3, 4, 4, 0, 0])


def test_rare_words_have_codes_of_15_bits_at_most():
    counts = np.array([2**i for i in range(40)])
    lengths = lengths_of(counts)
    assert lengths.max() <= 15
    assert np.sum(2.0 ** -lengths.astype(int)) == 1


def test_lengths_that_are_no_code_are_refused():
    coded = huffman.encode(flat([0, 1, 2, 3] * 9, 2)).copy()
    coded[1] ^= 1
    with pytest.raises(FileError, match="do not sum to 1"):
        huffman.decode(coded, Layout(2, (36,)))


@pytest.mark.parametrize("bits", [4, 16])
def test_relative_indices_are_those_of_deep_compression(bits):
    values = [0] * 3 + [5] + [0] * 9 + [7] + [0] * 2
    given = flat(values, bits)
    found, words = entries(given, 2)
    # Nine zeros are more than a gap of 2 bits: two words that are 0 break them.
    assert found.values.tolist() == [3, 3, 3, 1]
    assert words.values.tolist() == [5, 0, 0, 7]


def test_entries_that_leave_the_array_are_refused():
    given = flat([0] * 40 + [1], 4)
    coded = gaps.encode(given)
    with pytest.raises(FileError, match="do not fit"):
        gaps.decode(coded, Layout(4, (40,)))
    with pytest.raises(FileError, match="do not fit"):
        gaps.decode(coded, Layout(4, (4000,)))


SPECIAL = (np.nan, -np.nan, 0.0, -0.0, np.inf, -np.inf, 1e-40, -1.5)
FLOATS = ("float16", "bfloat16", "float32", "float64", "complex64")


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("coder", [planes, context_planes], ids=lambda coder: coder.name)
@pytest.mark.parametrize("zeros", [0.0, 0.9])
def test_numbers_of_every_kind_come_back_bit_for_bit(name, coder, zeros):
    random, dtype = np.random.default_rng(0), known_dtype(name)
    x = np.concatenate([SPECIAL, random.standard_normal(500)]).astype(dtype)
    payloads = random.integers(0, 256, 9 * dtype.itemsize, np.uint8).view(dtype)
    x = np.where(random.random(x.size) < zeros, dtype.type(0), x)
    given = array_words(np.concatenate([x, payloads]))
    coded = coder.encode(given)
    assert coded.size == coder.size_bytes(given) < given.values.nbytes
    np.testing.assert_array_equal(coder.decode(coded, given.layout), given.values)


@pytest.mark.parametrize(("name", "share"), [("bfloat16", 0.67), ("float32", 0.835)])
def test_exponents_of_weights_take_few_bits(name, share):
    weights = np.random.default_rng(0).standard_normal(10**5) * 0.05
    given = array_words(weights.astype(known_dtype(name)))
    assert planes.size_bytes(given) <= share * given.values.nbytes


def test_planes_by_a_coder_that_there_is_not_are_refused():
    given = array_words(np.ones(9, np.float32))
    coded = planes.encode(given).copy()
    for place, value, fault in ((0, 2, "begin with 2"), (1, 9, "by coder 9 of 1")):
        wrong = coded.copy()
        wrong[place] = value
        with pytest.raises(FileError, match=fault):
            planes.decode(wrong, given.layout)


@pytest.mark.parametrize(("bits", "size"), [(1, 3), (4, 1000), (4, 30_000), (8, 9000)])
def test_few_lanes_are_written_and_read_as_many_are(monkeypatch, bits, size):
    random = np.random.default_rng(size)
    given = flat(np.minimum(random.geometric(0.3, size) - 1, 2**bits - 1), bits)
    few, altered = rans.encode(given), [rans.encode(given)]
    for _ in range(8):
        altered.append(few.copy())
        altered[-1][random.integers(few.size)] ^= np.uint8(1 << random.integers(8))
    altered += [few[:-2], np.append(few, few[:2])]

    def answers() -> list:
        return [refused_or_words(each, given.layout) for each in altered]

    by_word = answers()
    monkeypatch.setattr(few_lanes, "MOST", 0)
    np.testing.assert_array_equal(rans.encode(given), few)
    assert by_word == answers()
    assert by_word[0] == given.values.tolist()


def refused_or_words(coded: np.ndarray, layout: Layout) -> list | str:
    try:
        return rans.decode(coded, layout).tolist()
    except FileError as error:
        return str(error)


def test_a_table_that_does_not_sum_is_refused():
    coded = np.append(np.uint8(0), np.frombuffer(table(np.array([100, 100])), np.uint8))
    with pytest.raises(FileError, match="its 2 frequencies do not sum to 256"):
        rans.decode(np.append(coded, np.zeros(9, np.uint8)), Layout(1, (9,)))


@pytest.mark.parametrize("precision", [8, 10, 12, 14])
def test_tables_of_frequencies_come_back(precision):
    random = np.random.default_rng(precision)
    for count in (2, 16, 256):
        counts = (random.pareto(0.3, count) * 10).astype(np.int64) % 10**9 + (count == 2)
        frequencies = normalized(counts, precision)
        assert frequencies.sum() == 2**precision
        assert np.array_equal(frequencies > 0, counts > 0)
        coded = np.frombuffer(table(frequencies), np.uint8)
        found, size_bytes = from_table(np.append(coded, np.uint8(255)), count, precision)
        np.testing.assert_array_equal(found, frequencies)
        assert size_bytes == coded.size


def test_a_bitmask_by_hand():
    coded = bitmask.encode(flat([0, 5, 0, 0, 9, 0, 0, 0, 3], 4))
    # Entries 1, 4 and 8 are there; of two words in a byte the first has the low half.
    np.testing.assert_array_equal(coded, [0b00010010, 0b1, 5 | 9 << 4, 3])


def pruned(keep: np.ndarray) -> Words:
    """Codes of 4 bits, of which each is kept with its probability."""
    random = np.random.default_rng(0)
    levels = np.where(random.random(keep.shape) < 0.5, 1, -1) * random.geometric(0.6, keep.shape)
    values = np.where(random.random(keep.shape) < keep, levels.clip(-7, 7), 0) % 16
    return Words(values.reshape(-1).astype(np.uint8), Layout(4, keep.shape))


@pytest.mark.parametrize("keep", [0.02, 0.1, 0.5])
@pytest.mark.parametrize(("coder", "most"), [(runs, 1.02), (lines, 1.04)])
def test_a_mask_without_structure_costs_little_more_than_its_entropy(coder, most, keep):
    given = pruned(np.full((1000, 500), keep))
    assert coder.size_bytes(given) <= most * entropy_bits(given.values) / 8


def test_runs_are_small_where_zeros_lie_together():
    blocks = np.random.default_rng(1).random((60, 60)) < 0.1
    given = pruned(np.kron(blocks, np.ones((16, 16))))
    assert runs.size_bytes(given) <= 0.55 * rans.size_bytes(given)


@pytest.mark.parametrize("axis", [0, 1])
def test_lines_are_small_where_rows_or_columns_differ(axis):
    keep = np.exp(np.random.default_rng(1).normal(-3, 1.2, 600)).clip(0, 1)
    given = pruned(np.broadcast_to(np.expand_dims(keep, axis), (600, 600)))
    assert lines.size_bytes(given) <= 0.9 * rans.size_bytes(given)


def test_a_line_of_many_entries_is_read_in_blocks():
    given = pruned(np.full((3, 1 << 15), 0.4))
    check(CASES[CODERS.index(lines)], given)


@pytest.mark.parametrize("coder", [runs, lines], ids=lambda coder: coder.name)
@pytest.mark.parametrize("bits", [1, 8, 32])
def test_a_large_array_of_zeros_is_vouched_for(coder, bits):
    given = Words(np.zeros(1 << 20, word_dtype(bits)), Layout(bits, (1 << 10, 1 << 10)))
    coded = coder.encode(given)
    assert coder.least_bytes(given.layout) == (1 << 20) // 4096 == coded.size - 2
    np.testing.assert_array_equal(coder.decode(coded, given.layout), given.values)
    wrong = coded.copy()
    wrong[-1] = 1
    with pytest.raises(FileError, match="do not fit"):
        coder.decode(wrong, given.layout)


FIELDS = [0, 1, 3, 8, 9, 16, 17, 40, 58]


@pytest.mark.parametrize("bits", FIELDS)
def test_fields_of_any_width_come_back(bits):
    values = np.random.default_rng(bits).integers(0, 2**bits, 77)
    coded = np.frombuffer(fields_to_bytes(values, bits), np.uint8)
    assert coded.size == field_bytes(77, bits)
    np.testing.assert_array_equal(bytes_to_fields(coded, 77, bits), values)


@hypothesis.given(values=st.lists(st.integers(0, 300), max_size=60), most=st.integers(1, 9))
def test_unary_codes_come_back_some_at_a_time(values, most):
    coded = np.frombuffer(to_unary(np.array(values, np.int64)), np.uint8)
    assert coded.size == unary_bytes(len(values), sum(values))
    counts = [len(values[i : i + most]) for i in range(0, len(values), most)]
    misfit = FileError("it does not fit")
    found = [x for some in from_unary(coded, counts, misfit) for x in some.tolist()]
    assert found == values
    for wrong in ([*counts, 1], counts[:-1]):
        if wrong != counts:
            with pytest.raises(FileError):
                list(from_unary(coded, wrong, misfit))
    with pytest.raises(FileError):
        list(from_unary(np.append(coded, np.uint8(0)), counts, misfit))
