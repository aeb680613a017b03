"""Codes that cost few bits: against a loop, against other steps, and under budgets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.quantize.rates import by_lines, order_0, slope_for
from jaxcompress.quantize.rounding import rate_distortion

RANDOM = np.random.default_rng(0)
INT8 = jc.quantize.int8(per="tensor")


def bits(codes) -> float:
    """The entropy of codes, in bits for each."""
    _, counts = np.unique(codes, return_counts=True)
    return float(np.sum(counts * np.log2(np.size(codes) / counts))) / np.size(codes)


def laplace(*shape: int) -> np.ndarray:
    return RANDOM.laplace(size=shape).astype(np.float32)


def leaf_of(weight, rounding, spec=INT8):
    return jc.quantize.quantize({"kernel": weight}, spec, rounding=rounding)[0]["kernel"]


def cost(weight, leaf, slope: float) -> float:
    """Squared error and bits of a weight, in the mean."""
    error = np.mean(np.square(np.float64(leaf.materialize()) - weight))
    return error + slope * bits(leaf.unpacked_codes)


def by_hand(weight, energy, step: float, slope: float, turns: int) -> np.ndarray:
    """The codes of a matrix (outputs, inputs), in float64."""
    steps = np.float64(weight) / step
    nearest = np.round(steps)
    options = np.stack([nearest, nearest + np.sign(steps - nearest), 0 * nearest])
    errors = energy * np.square(options * step - weight)
    codes = nearest
    for _ in range(turns):
        values, counts = np.unique(codes, return_counts=True)
        found = np.zeros(options.shape)
        for value, count in zip(values, counts, strict=True):
            found[options == value] = count
        price = np.log2((codes.size + 1) / (found + 1 / 384))
        best = np.argmin(errors + slope * price, axis=0)
        codes = np.take_along_axis(options, best[None], axis=0)[0]
    return codes


@pytest.mark.parametrize("slope", [0.003, 0.1])
def test_it_agrees_with_a_loop(slope):
    weight = laplace(24, 16)  # (inputs, outputs)
    leaf = leaf_of(weight, rate_distortion(slope, turns=3))
    step = float(leaf.scales.reshape(()))
    assert step == pytest.approx(max(np.sqrt(6 * slope / np.log(2)), np.abs(weight).max() / 127))
    expected = by_hand(weight.T, 1.0, step, slope, 3)
    np.testing.assert_array_equal(leaf.unpacked_codes, expected)


def test_on_data_errors_count_as_a_share_of_the_output():
    weight, x = laplace(6, 40), laplace(64, 6) * np.float32([0.1, 0.3, 1, 1, 3, 10])[None]
    energy, slope = np.mean(np.square(x), axis=0), 2e-4
    energy /= np.sum(energy[:, None] * np.square(weight))
    found, _ = jc.quantize.reconstruct(
        lambda params, x: x @ params["kernel"],
        {"kernel": weight},
        [x],
        INT8,
        rate_distortion(slope),
    )
    leaf = found["kernel"]
    step = float(leaf.scales.reshape(()))
    assert step == pytest.approx(np.sqrt(6 * slope / np.log(2) / np.mean(energy)), rel=1e-4)
    np.testing.assert_array_equal(
        leaf.unpacked_codes, by_hand(weight.T, energy[None], step, slope, 8)
    )


def test_on_data_a_leaf_of_small_weights_keeps_its_codes():
    weight, x = laplace(6, 40), laplace(64, 6)
    params = {"large": weight, "small": weight / 1000}
    both = lambda params, x: (x @ params["large"], x @ params["small"])  # noqa: E731
    found, _ = jc.quantize.reconstruct(both, params, [x], INT8, rate_distortion(4e-4))
    codes = [leaf.unpacked_codes for leaf in found.values()]
    np.testing.assert_array_equal(*codes)
    assert np.any(codes[0])


@pytest.mark.parametrize("slope", [0.01, 0.1, 0.4])
def test_the_step_of_a_slope_costs_least(slope):
    """Against nearest codes of the same step, and against other steps."""
    weight = laplace(128, 128)
    own = cost(weight, leaf_of(weight, rate_distortion(slope)), slope)
    step = np.sqrt(6 * slope / np.log(2))
    for factor in (0.5, 1.0, 2.0):
        codes = np.round(weight / (factor * step))
        error = np.mean(np.square(codes * factor * step - weight))
        assert own < error + slope * bits(codes)


def test_more_slope_gives_fewer_bits_and_more_error():
    weight = laplace(64, 64)
    leaves = [leaf_of(weight, rate_distortion(slope)) for slope in (0.001, 0.01, 0.1, 1.0)]
    rates = [bits(leaf.unpacked_codes) for leaf in leaves]
    errors = [float(np.mean(np.square(leaf.materialize() - weight))) for leaf in leaves]
    assert rates == sorted(rates, reverse=True)
    assert errors == sorted(errors)


def test_rates_by_lines_save_bits_where_neurons_are_unequal():
    share = 0.6 * RANDOM.random((1, 96)) * RANDOM.random((128, 1))
    weight = np.where(RANDOM.random((128, 96)) < share, laplace(128, 96), 0).astype(np.float32)
    slope = 0.1

    def price(leaf) -> tuple[float, float]:
        codes = leaf.unpacked_codes.astype(jnp.int32)
        total = float(jnp.sum(by_lines(codes, codes[None])))
        return total, float(np.sum(np.square(leaf.materialize() - weight))) + slope * total

    (_, plain), (_, lines) = (
        price(leaf_of(weight, rate_distortion(slope, rate))) for rate in (order_0, by_lines)
    )
    assert lines < plain


@pytest.mark.parametrize("rate", [order_0, by_lines])
def test_prices_are_those_of_a_code(rate):
    """Finite, at least 0, and such that a decoder could tell the codes apart."""
    codes = jnp.asarray(RANDOM.integers(-2, 3, (20, 30)) * (RANDOM.random((20, 30)) < 0.4))
    every = jnp.broadcast_to(jnp.arange(-128, 256)[:, None, None], (384, 20, 30))
    price = np.float64(rate(codes.astype(jnp.int32), every))
    assert np.all(np.isfinite(price))
    assert np.all(price >= 0)
    assert np.max(np.sum(2.0**-price, axis=0)) <= 1 + 1e-3
    own = np.float64(rate(codes.astype(jnp.int32), codes.astype(jnp.int32)[None]))
    assert np.sum(own) <= 1.05 * codes.size * bits(codes)


def test_rates_of_one_code_alone_are_finite():
    zeros = jnp.zeros((3, 4), jnp.int32)
    for rate in (order_0, by_lines):
        assert np.all(np.isfinite(rate(zeros, jnp.stack([zeros, zeros + 1]))))


def test_pruned_weights_stay_and_stacked_matrices_are_chosen_apart():
    weight = laplace(3, 8, 6) * (RANDOM.random((3, 8, 6)) < 0.5)
    axes = {"kernel": jc.LeafAxes(contracting=(1,), output=(2,), batch=(0,))}
    rounding = rate_distortion(0.05)
    both = jc.quantize.quantize({"kernel": weight}, INT8, axes=axes, rounding=rounding)
    stacked = both[0]["kernel"].materialize()
    assert not np.any(np.asarray(stacked)[weight == 0])
    for index, one in enumerate(weight):
        alone = leaf_of(one, rounding).materialize()
        np.testing.assert_array_equal(stacked[index], alone)


def test_a_slope_for_a_budget():
    params = {"a": laplace(64, 64), "b": 0.1 * laplace(64, 64)}

    def size_at(slope: float) -> int:
        found, _ = jc.quantize.quantize(params, INT8, rounding=rate_distortion(slope))
        return int(sum(leaf.size * bits(leaf.unpacked_codes) / 8 for leaf in found.values()))

    slope = slope_for(2500, size_at)
    assert 2400 < size_at(slope) <= 2500


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (ValueError, "slope", lambda: rate_distortion(0.0)),
        (ValueError, "slope", lambda: rate_distortion(float("nan"))),
        (ValueError, "turns", lambda: rate_distortion(1.0, turns=0)),
        (TypeError, "rate", lambda: rate_distortion(1.0, 2.0)),
        (TypeError, "rate", lambda: rate_distortion(1.0, lambda codes: codes)),
        (
            ValueError,
            "no step follows from the slope for nf4",
            lambda: leaf_of(laplace(4, 4), rate_distortion(1.0), jc.quantize.formats.nf4()),
        ),
        (TypeError, "codes", lambda: order_0(1.5, 2)),
        (ValueError, "candidates", lambda: by_lines(np.eye(2, dtype=int), np.eye(2, dtype=int))),
        (ValueError, "budget_bytes", lambda: slope_for(0, lambda slope: 1)),
        (TypeError, "size_at", lambda: slope_for(10, 3)),
        (ValueError, "start", lambda: slope_for(10, lambda slope: 1, start=0.0)),
        (ValueError, "trials", lambda: slope_for(10, lambda slope: 1, trials=0)),
        (ValueError, "the least of 16 trials was 11 bytes", lambda: slope_for(10, lambda _: 11)),
    ],
)
def test_what_is_refused(error, message, make):
    with pytest.raises(error, match=message):
        make()


def test_it_runs_under_jit():
    weight, rounding = laplace(16, 8), rate_distortion(0.1)
    compiled = jax.jit(lambda params: jc.quantize.quantize(params, INT8, rounding=rounding)[0])
    np.testing.assert_array_equal(
        compiled({"kernel": weight})["kernel"].unpacked_codes,
        leaf_of(weight, rounding).unpacked_codes,
    )
