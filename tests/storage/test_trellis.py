"""Files of codes on a trellis: smaller, along any axes, and refused."""

import subprocess
import sys
import time

import numpy as np
import pytest

from jaxcompress.storage.coders import CODERS, context, plain, trellis
from jaxcompress.storage.coders.binary import writer
from jaxcompress.storage.coders.matrices import walked
from jaxcompress.storage.coders.selection import smallest
from jaxcompress.storage.coders.trellis import lines_along
from jaxcompress.storage.coders.words import Layout
from jaxcompress.storage.container.errors import FileError
from tests.storage.test_coders import CASES, check
from tests.storage.trellises import of_codes, on_trellis

CASE = CASES[CODERS.index(trellis)]

AXES = {
    "a kernel": ((30, 64), 1, True),
    "convolutions": ((12, 3, 3, 20), 3, True),
    "one output": ((1, 300), 2, True),
    "in a row": ((300,), 1, True),
    "one input": ((30, 1), 1, True),
}


@pytest.mark.parametrize(("shape", "axes", "inputs_last"), AXES.values(), ids=AXES)
def test_codes_of_a_trellis_are_written_as_indices(shape, axes, inputs_last):
    codes = on_trellis(shape if len(shape) > 1 else (1, *shape), 5).reshape(shape)
    given = of_codes(codes, 8, inputs_last)
    coded = trellis.encode(given)
    assert coded[0] == axes
    check(CASE, given)


def test_codes_of_a_trellis_are_smaller_than_by_contexts_alone():
    given = of_codes(on_trellis((60, 200), 2), 4)
    assert trellis.size_bytes(given) < 0.9 * context.size_bytes(given)
    assert smallest(given, CODERS)[0] is trellis


@pytest.mark.parametrize("batch", [(3,), (2, 2)])
def test_every_matrix_of_a_batch_begins_anew(batch):
    matrices = [on_trellis((6, 9), 3, seed) for seed in range(np.prod(batch))]
    codes = np.stack(matrices).reshape(*batch, 6, 9)
    given = of_codes(codes, 8)
    assert trellis.encode(given)[0] == 1
    check(CASE, given)
    # Of a kernel that has its inputs first, too.
    turned = of_codes(np.ascontiguousarray(codes.swapaxes(-1, -2)), 8, inputs_last=False)
    assert trellis.encode(turned)[0] == 1
    check(CASE, turned)


def test_empty_rows_of_a_trellis_are_left_out():
    codes = on_trellis((4, 90), 3, share=0.99)
    check(CASE, of_codes(codes, 8))


def test_the_ends_of_a_format_are_on_the_trellis():
    for bits in range(3, 9):
        half = 2 ** (bits - 1)
        # The states are 0, 2 and 1.
        codes = np.array([[2 - half, -half, half - 1], [half - 2, -half, 1 - half]])
        given = of_codes(codes, bits)
        assert trellis.encode(given)[0] == 1
        check(CASE, given)


@pytest.mark.parametrize("wrong", [1, 2])
def test_one_word_beside_the_trellis_leaves_all_as_they_are(wrong):
    codes = on_trellis((20, 30), 3)
    place = np.argwhere(codes != 0)[-1]
    codes[tuple(place)] += wrong % 2
    codes[0, 0] += wrong // 2
    given = of_codes(codes, 8)
    np.testing.assert_array_equal(
        trellis.encode(given), np.append(np.uint8(0), plain.encode(given))
    )
    assert smallest(given, (trellis,))[0] is plain


def test_words_beside_the_trellis_cost_little_time():
    given = of_codes(np.random.default_rng(0).integers(-50, 50, (1000, 4000)), 8)
    begin = time.thread_time()
    trellis.size_bytes(given)
    assert time.thread_time() - begin < 0.5


def test_indices_beyond_the_format_and_axes_that_there_are_not_are_refused():
    given = of_codes(on_trellis((5, 12), 7), 5)
    coded = trellis.encode(given)
    code, finished = writer()
    layout = Layout(4, (1, 2), inputs_last=True)
    walked(code, np.array([[7], [1]], np.int8), 4, (), lines_along(layout, 1).states)
    with pytest.raises(FileError, match="its codes have more than 4 bits"):
        trellis.decode(np.frombuffer(b"\1" + finished(), np.uint8), layout)
    with pytest.raises(FileError, match="its lines run along 3 axes of 2"):
        trellis.decode(np.append(np.uint8(3), coded[1:]), given.layout)


def test_another_process_decodes_the_same_codes():
    code = (
        "import sys, numpy as np\n"
        "from jaxcompress.storage.coders import trellis\n"
        "from jaxcompress.storage.coders.words import Layout\n"
        "coded = np.frombuffer(bytes.fromhex(sys.argv[1]), np.uint8)\n"
        "print(trellis.decode(coded, Layout(8, (20, 30), True)).tobytes().hex())"
    )
    given = of_codes(on_trellis((20, 30), 9), 8)
    command = [sys.executable, "-c", code, trellis.encode(given).tobytes().hex()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert bytes.fromhex(done.stdout.strip()) == given.values.tobytes()
