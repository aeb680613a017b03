"""Codes on a trellis: against all sequences, and against single codes."""

import itertools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcompress as jc
from jaxcompress.core.trellis import NEXT, levels
from jaxcompress.quantize.rates import by_lines, order_0, slope_for
from jaxcompress.quantize.rounding import rate_distortion, trellis
from jaxcompress.quantize.rounding.paths import cheapest_path

RANDOM = np.random.default_rng(0)
INT8 = jc.quantize.int8(per="tensor")


def laplace(*shape: int) -> np.ndarray:
    return RANDOM.laplace(size=shape).astype(np.float32)


def leaf_of(weight, rounding, spec=INT8):
    return jc.quantize.quantize({"kernel": weight}, spec, rounding=rounding)[0]["kernel"]


def followed(codes) -> tuple[np.ndarray, np.ndarray]:
    """Indices and parities of states of codes (outputs, inputs), by hand."""
    codes = np.asarray(codes).astype(int)
    every, odd, state = np.arange(-64, 65), np.zeros_like(codes), np.zeros(len(codes), int)
    indices = np.zeros_like(codes)
    for j in range(codes.shape[1]):
        odd[:, j] = state & 1
        known = 2 * every[None] - odd[:, j, None] * np.sign(every)[None] == codes[:, j, None]
        assert np.all(np.sum(known, axis=1) == 1), "a code is no level of its state"
        indices[:, j] = every[np.argmax(known, axis=1)]
        state = np.array(NEXT)[state, indices[:, j] & 1]
    return indices, odd


def bits(indices, odd) -> float:
    """Entropy of indices where parities of states are known, in bits for each."""
    total = 0.0
    for parity in (0, 1):
        _, counts = np.unique(indices[odd == parity], return_counts=True)
        total += float(np.sum(counts * np.log2(counts.sum() / counts)))
    return total / indices.size


def test_every_state_follows_one_by_either_parity():
    for way in (0, 1):
        assert sorted(pair[way] for pair in NEXT) == list(range(8))


@pytest.mark.parametrize("transitions", [NEXT, NEXT[:1], ((0, 1), (1, 0))], ids=len)
def test_the_path_is_the_least_of_all(transitions):
    transitions = ((0, 0),) if len(transitions) == 1 else transitions
    branches = RANDOM.random((2, 2, 5, 8)).astype(np.float32)
    branches[:, 1][RANDOM.random((2, 5, 8)) < 0.3] = np.inf
    path = cheapest_path(jnp.asarray(branches), transitions)
    every = np.array(list(itertools.product((0, 1), repeat=8)))  # (256, inputs)
    for row in range(5):
        state, cost = np.zeros(256, int), np.zeros(256)
        for j in range(8):
            cost += np.float64(branches[state & 1, every[:, j], row, j])
            state = np.array(transitions)[state, every[:, j]]
        np.testing.assert_array_equal(path.parities[row], every[np.argmin(cost)])


def test_a_trellis_of_one_state_chooses_each_index_by_itself():
    branches = RANDOM.random((2, 2, 3, 50)).astype(np.float32)
    path = cheapest_path(jnp.asarray(branches), ((0, 0),))
    np.testing.assert_array_equal(path.parities, np.argmin(branches[0], axis=0))
    assert not np.any(path.odd)


def prices(indices, odd) -> np.ndarray:
    """(2, 5) bits of the indices -2 to 2 in even and in odd states."""
    found = []
    for parity in (0, 1):
        here = indices[odd == parity]
        counts = np.array([np.sum(here == k) for k in range(-2, 3)])
        found.append(np.log2((here.size + 1) / (counts + 1 / 384)))
    return np.array(found)


def by_hand(weight, step: float, slope: float, turns: int) -> np.ndarray:
    """The codes from -3 to 3 of a matrix (outputs, 8): the least of all sequences."""
    x = np.float64(weight) / step
    every = np.array(list(itertools.product(range(-2, 3), repeat=8)))  # (5**8, inputs)
    odd, state = np.zeros_like(every), np.zeros(len(every), int)
    for j in range(8):
        odd[:, j] = state & 1
        state = np.array(NEXT)[state, every[:, j] & 1]
    codes = 2 * every - odd * np.sign(every)
    possible = np.all(np.abs(codes) <= 3, axis=1)
    every, odd, codes = every[possible], odd[possible], codes[possible]
    parity = np.sum(np.indices(x.shape), axis=0) % 2
    # The nearest levels of both kinds of states, by turns.
    near = np.array([[0, -1, 1], [0, -1, 1, -2, 2]], object)
    start = np.zeros(x.shape, int)
    for place in np.ndindex(x.shape):
        known = np.array(near[parity[place]])
        values = 2 * known - parity[place] * np.sign(known)
        start[place] = known[np.argmin((values - x[place]) ** 2)] if weight[place] else 0
    price = prices(start, parity)
    for _ in range(turns):
        cost = price[odd, every + 2].sum(axis=1)
        best = []
        for row, line in zip(x, weight, strict=True):
            own = cost + np.square(codes - row).sum(axis=1) * step**2 / slope
            own[np.any((codes != 0) & (line == 0), axis=1)] = np.inf
            best.append(np.argmin(own))
        price = prices(every[best], odd[best])
    return codes[best]


@pytest.mark.parametrize("turns", [1, 3])
def test_codes_are_the_least_of_all_sequences(turns):
    weight = (laplace(8, 6) * (RANDOM.random((8, 6)) < 0.8)).clip(-2, 2)  # (inputs, outputs)
    rounding = trellis(0.02, ranges=jc.quantize.ranges.min_max, turns=turns)
    leaf = leaf_of(weight, rounding, jc.quantize.formats.int3(per="tensor"))
    expected = by_hand(weight.T, float(leaf.scales.reshape(())), 0.02, turns)
    np.testing.assert_array_equal(leaf.unpacked_codes, expected)


def test_the_step_follows_from_the_slope():
    weight, slope = laplace(20, 10), 0.05
    step = float(leaf_of(weight, trellis(slope)).scales.reshape(()))
    assert step == pytest.approx(np.sqrt(6 * slope / np.log(2)) * 2 / 3)


@pytest.mark.parametrize("kind", ["laplace", "standard_normal"])
@pytest.mark.parametrize("slope", [0.02, 0.1, 0.4])
def test_it_costs_less_than_single_codes(kind, slope):
    """Of error and bits together, at 3.6 to 1.2 bits for each weight."""
    weight = np.float32(getattr(RANDOM, kind)(size=(256, 128)))
    path, single = leaf_of(weight, trellis(slope)), leaf_of(weight, rate_distortion(slope))
    indices, odd = followed(path.unpacked_codes)
    codes = np.asarray(single.unpacked_codes)
    errors = [
        np.mean(np.square(np.float64(leaf.materialize()) - weight)) for leaf in (path, single)
    ]
    own = errors[0] + slope * bits(indices, odd)
    assert own < 0.985 * (errors[1] + slope * bits(codes, 0 * codes))


def test_on_data_errors_count_by_the_energy_of_their_input():
    weight = laplace(40, 40)
    x = laplace(64, 40) * np.where(np.arange(40) % 2, 10, 0.1).astype(np.float32)[None]
    found, _ = jc.quantize.reconstruct(
        lambda params, x: x @ params["kernel"], {"kernel": weight}, [x], INT8, trellis(1e-5)
    )
    followed(found["kernel"].unpacked_codes)
    error = np.mean(np.square(found["kernel"].materialize() - weight), axis=1)
    assert np.max(error[1::2]) < np.min(error[::2])


@pytest.mark.parametrize("rate", [order_0, by_lines])
def test_pruned_weights_stay_and_stacked_matrices_are_chosen_apart(rate):
    weight = laplace(3, 8, 6) * (RANDOM.random((3, 8, 6)) < 0.5)
    axes = {"kernel": jc.LeafAxes(contracting=(1,), output=(2,), batch=(0,))}
    rounding = trellis(0.05, rate)
    both = jc.quantize.quantize({"kernel": weight}, INT8, axes=axes, rounding=rounding)
    stacked = both[0]["kernel"].materialize()
    assert not np.any(np.asarray(stacked)[weight == 0])
    for index, one in enumerate(weight):
        alone = leaf_of(one, rounding)
        followed(alone.unpacked_codes)
        np.testing.assert_array_equal(stacked[index], alone.materialize())


def test_rows_run_along_all_axes_of_the_inputs():
    weight = laplace(3, 3, 4, 5)
    axes = {"kernel": jc.LeafAxes(contracting=(0, 1, 2), output=(3,))}
    found, _ = jc.quantize.quantize({"kernel": weight}, INT8, axes=axes, rounding=trellis(0.05))
    flat = leaf_of(weight.reshape(36, 5), trellis(0.05))
    codes = np.asarray(found["kernel"].unpacked_codes).reshape(5, 36)
    np.testing.assert_array_equal(codes, flat.unpacked_codes)


def test_more_slope_gives_fewer_bits_and_more_error():
    weight = laplace(64, 64)
    leaves = [leaf_of(weight, trellis(slope)) for slope in (0.001, 0.01, 0.1, 1.0)]
    rates = [bits(*followed(leaf.unpacked_codes)) for leaf in leaves]
    errors = [float(np.mean(np.square(leaf.materialize() - weight))) for leaf in leaves]
    assert rates == sorted(rates, reverse=True)
    assert errors == sorted(errors)


def test_a_slope_for_a_budget_of_the_file():
    params, smallest = {"a": laplace(64, 48)}, jc.storage.coders.SMALLEST

    def size_at(slope: float) -> int:
        found, _ = jc.quantize.quantize(params, INT8, rounding=trellis(slope))
        return jc.storage.size(found, coders=smallest).disk

    assert size_at(slope_for(2000, size_at, trials=8)) <= 2000


def test_levels_by_state():
    indices = np.arange(-3, 4, dtype=np.int8)
    np.testing.assert_array_equal(levels(indices, 0), [-6, -4, -2, 0, 2, 4, 6])
    np.testing.assert_array_equal(levels(indices, 1), [-5, -3, -1, 0, 1, 3, 5])


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (ValueError, r"trellis\(slope", lambda: trellis(0.0)),
        (ValueError, r"trellis\(turns", lambda: trellis(1.0, turns=0)),
        (TypeError, r"trellis\(rate", lambda: trellis(1.0, 2.0)),
        (TypeError, r"trellis\(ranges", lambda: trellis(1.0, ranges=2.0)),
        (
            ValueError,
            r"trellis\(ranges=None\): no step follows from the slope for nf4",
            lambda: leaf_of(laplace(4, 4), trellis(1.0), jc.quantize.formats.nf4()),
        ),
        *(
            (
                ValueError,
                f"trellis: the codes of {spec} are no integers around zero, from -3",
                lambda spec=spec: leaf_of(
                    laplace(4, 4), trellis(1.0, ranges=jc.quantize.ranges.min_max), spec
                ),
            )
            for spec in (jc.quantize.formats.uint4(), jc.quantize.formats.int2())
        ),
    ],
)
def test_what_is_refused(error, message, make):
    with pytest.raises(error, match=message):
        make()


def test_it_runs_under_jit():
    weight, rounding = laplace(16, 8), trellis(0.1)
    compiled = jax.jit(lambda params: jc.quantize.quantize(params, INT8, rounding=rounding)[0])
    np.testing.assert_array_equal(
        compiled({"kernel": weight})["kernel"].unpacked_codes,
        leaf_of(weight, rounding).unpacked_codes,
    )


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_it_lowers_for_other_devices(platform):
    solve = jax.jit(trellis(0.1).solver(INT8).solve)
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((8, 16), (16, 16))]
    assert jax.export.export(solve, platforms=[platform])(*shapes).platforms == (platform,)
