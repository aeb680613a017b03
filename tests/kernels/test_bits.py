"""Products of packed signs against plain integer products, and what they lower to."""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcompress.core.packing import pack
from jaxcompress.kernels import pack_bits, sign_matmul
from jaxcompress.kernels.bits import words


class Case(NamedTuple):
    """Leading axes, rows, contracted entries and outputs of one product."""

    lead: tuple[int, ...]
    rows: int
    length: int
    outputs: int


CASES = [
    Case((), 1, 1, 1),
    Case((), 3, 31, 5),
    Case((), 2, 32, 7),
    Case((), 5, 33, 2),
    Case((), 1, 300, 40),
    Case((2,), 3, 65, 4),
    Case((2, 3), 2, 40, 3),
    Case((), 0, 40, 3),
    Case((), 4, 40, 0),
    Case((), 2, 0, 3),
]
KINDS = {"binary": (-1, 1), "ternary": (-1, 0, 1)}


def numbers(shape, kind, seed=0):
    return np.random.default_rng(seed).choice(KINDS[kind], shape)


def planes(x, kind):
    x = jnp.asarray(x)
    each = [pack_bits(x > 0)] + [pack_bits(x >= 0)] * (kind == "ternary")
    return jnp.stack(each)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_the_product_of_whole_numbers(case):
    @jax.jit
    def products(given):
        return [
            sign_matmul(planes(x, kinds[0]), planes(w, kinds[1]), case.length)
            for kinds, (x, w) in given.items()
        ]

    given = {
        (data, weights): (
            numbers((*case.lead, case.rows, case.length), data),
            numbers((*case.lead, case.outputs, case.length), weights, seed=1),
        )
        for data in KINDS
        for weights in KINDS
    }
    for found, (x, w) in zip(products(given), given.values(), strict=True):
        assert found.dtype == jnp.int32
        np.testing.assert_array_equal(found, np.einsum("...mk,...nk->...mn", x, w))


def test_it_is_the_same_outside_of_jit_and_mapped():
    x, w = numbers((3, 2, 50), "binary"), numbers((3, 4, 50), "ternary", 1)
    data, weights = planes(x, "binary"), planes(w, "ternary")
    mapped = jax.vmap(lambda x, w: sign_matmul(x, w, 50), in_axes=1)
    expected = np.einsum("bmk,bnk->bmn", x, w)
    np.testing.assert_array_equal(mapped(data, weights), expected)
    np.testing.assert_array_equal(sign_matmul(data, weights, 50), expected)


@pytest.mark.parametrize("length", [1, 8, 9, 31, 33, 64, 100])
def test_the_bytes_of_stored_codes_are_words(length):
    bits = numbers((3, length), "binary") > 0
    stored = pack(jnp.asarray(bits, jnp.uint8), 1)
    np.testing.assert_array_equal(words(stored), pack_bits(jnp.asarray(bits)))
    assert words(stored).shape == (3, -(-length // 32))
    counted = np.sum(np.unpackbits(np.asarray(words(stored)).view(np.uint8)))
    assert counted == bits.sum()


def test_nothing_of_all_words_is_written_to_memory():
    rows, outputs, length = 64, 256, 4096
    x, w = (jax.ShapeDtypeStruct((1, n, length // 32), jnp.uint32) for n in (rows, outputs))
    compiled = jax.jit(lambda x, w: sign_matmul(x, w, length)).lower(x, w).compile()
    analysis = compiled.memory_analysis()
    # Sums, and both operands in the loop's order; all words would be 32 times that.
    most = 4 * (2 * rows * outputs + (rows + outputs) * length // 32)
    assert analysis.temp_size_in_bytes <= 1.5 * most


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_they_lower_for_accelerators(platform):
    def product(x, w):
        return sign_matmul(pack_bits(x > 0)[None], pack_bits(w > 0)[None], 70)

    shapes = (
        jax.ShapeDtypeStruct((4, 70), jnp.float32),
        jax.ShapeDtypeStruct((6, 70), jnp.float32),
    )
    lowered = jax.jit(product).trace(*shapes).lower(lowering_platforms=(platform,))
    assert "stablehlo.popcnt" in lowered.as_text()


X, W = jnp.zeros((1, 2, 3), jnp.uint32), jnp.zeros((2, 5, 3), jnp.uint32)
REFUSALS = [
    (lambda: pack_bits(jnp.ones(3)), "pack_bits(bits=...) of dtype float32 must be bool codes"),
    (lambda: pack_bits(jnp.array(True)), "pack_bits: bits () must have an axis"),
    (lambda: sign_matmul(jnp.ones((1, 2, 3)), W, 90), "sign_matmul(x=...) of dtype float32"),
    (lambda: sign_matmul(X, W[0], 90), "w (5, 3) must be (1 or 2 planes, ..., rows, words)"),
    (lambda: sign_matmul(W[:, None], X, 90), "must share words and leading axes"),
    (lambda: sign_matmul(X, W[..., :2], 90), "must share words and leading axes"),
    (lambda: sign_matmul(X, W, 97), "x (1, 2, 3) must hold length=97 bits in words of 32"),
    (lambda: sign_matmul(X, W, 64), "x (1, 2, 3) must hold length=64 bits in words of 32"),
    (lambda: sign_matmul(X, W, cast(Any, 1.5)), "sign_matmul(length=1.5) must be"),
]


@pytest.mark.parametrize(("call", "message"), REFUSALS, ids=[message for _, message in REFUSALS])
def test_operands_that_do_not_fit_are_refused(call, message):
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert message in str(error.value)
