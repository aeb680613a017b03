"""Products and sums of shares against fractions of whole numbers."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from jaxcompress.core.fixed import Fixed, exact_product, exact_sum

SHARES = np.float32(
    [0, 1, 0.5, 0.9, 1 / 3, np.nextafter(np.float32(1), np.float32(0)), 2.0**-31, 2.0**-40, 1e-38]
)


def as_fractions(numbers: Fixed) -> list[Fraction]:
    words = zip(*(np.ravel(word).tolist() for word in numbers), strict=True)
    return [whole + Fraction((high << 32) + low, 1 << 64) for whole, high, low in words]


def test_products_lose_nothing_above_a_part_in_2_to_the_64():
    for size in (1, 35, 2**24 + 1, 2**31 - 1):
        found = as_fractions(jax.jit(exact_product, static_argnums=1)(SHARES, size))
        for product, share in zip(found, SHARES, strict=True):
            exact = Fraction(float(share)) * size
            lost = 0 if share >= 2.0**-40 else Fraction(size, 1 << 64)
            assert exact - lost <= product <= exact


def test_sums_carry():
    words = np.random.default_rng(0).integers(0, 2**32, (3, 5, 7), np.uint32)
    words[1:] |= np.uint32(0xFF000000)  # so that both words overflow
    numbers = Fixed(*map(jnp.asarray, words))
    (total,) = as_fractions(exact_sum(numbers))
    assert total == sum(as_fractions(numbers)) % 2**32
