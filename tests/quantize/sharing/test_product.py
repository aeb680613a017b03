"""Product quantization: codes and codebooks by brute force, the leaf protocol."""

import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcompress as jc
from jaxcompress.core import product as product_leaf
from jaxcompress.quantize import formats, quantize, rounding, sharing
from jaxcompress.quantize.sharing import clusters

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(size=(12, 10)).astype(np.float32)
IMPORTANCE = RANDOM.gamma(1.0, size=(12, 10)).astype(np.float32)
DENSE = jc.LeafAxes((0,), (1,))
LAYERS = {"w": jc.LeafAxes(contracting=(1,), output=(2,), batch=(0,))}
KEY = jax.random.key(0)
EPS = np.finfo(np.float32).eps


def quantized(weight=WEIGHT, length=3, entries=5, importance=None, axes=None, **form):
    vectors = sharing.Vectors(length, entries, **form)
    given = None if importance is None else {"w": importance}
    params = {"w": jnp.asarray(weight)}
    return sharing.product(params, vectors, KEY, importance=given, axes=axes)[0]["w"]


def by_hand(codes, codebooks):
    """The stored array (outputs, inputs) of codes (outputs, vectors), by a loop."""
    rows = []
    for row in codes:
        books = [codebooks[0 if len(codebooks) == 1 else place] for place in range(len(row))]
        rows.append(np.concatenate([book[code] for book, code in zip(books, row, strict=True)]))
    return np.stack(rows)


def error(leaf, weight=WEIGHT, importance=1.0) -> float:
    return float(np.sum(importance * np.square(np.float64(leaf.materialize()) - weight)))


FORMS = {
    "per tensor": {},
    "per subspace": {"per": "subspace"},
    "half": {"stored": "float16"},
    "weighted": {"importance": jnp.asarray(IMPORTANCE)},
    "by inputs": {"importance": jnp.asarray(IMPORTANCE[:, :1])},
    "weighted per subspace": {"importance": jnp.asarray(IMPORTANCE), "per": "subspace"},
    "single weights": {"length": 1},
    "two entries": {"entries": 2},
    "whole rows": {"length": 12},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_codes_are_nearest_and_entries_are_means(form):
    leaf = quantized(**form)
    length, entries = leaf.length, leaf.entries
    counts = np.float64(np.broadcast_to(form.get("importance", np.ones(1)), WEIGHT.shape))
    vectors = np.float64(WEIGHT).T.reshape(10, -1, length)
    counts = counts.T.reshape(vectors.shape)
    codes, codebooks = np.asarray(leaf.unpacked_codes), np.float64(leaf.codebooks)
    assert leaf.codebooks.dtype == form.get("stored", "float32")
    assert codebooks.shape == (codes.shape[1] if "per" in form else 1, entries, length)
    np.testing.assert_array_equal(codebooks[:, 0], 0)
    np.testing.assert_array_equal(
        leaf.materialize(), by_hand(codes, np.asarray(leaf.codebooks)).T.astype(np.float32)
    )
    rounded = 2.0**-11 if "stored" in form else 8 * EPS
    for place, book in enumerate(codebooks):
        columns = slice(None) if len(codebooks) == 1 else slice(place, place + 1)
        x, count, code = vectors[:, columns], counts[:, columns], codes[:, columns]
        costs = np.sum(count[..., None, :] * np.square(x[..., None, :] - book), axis=-1)
        chosen = np.take_along_axis(costs, code[..., None].astype(int), axis=-1)[..., 0]
        size = np.sum(count * np.square(x), axis=-1)
        assert np.all(chosen <= costs.min(-1) + 16 * length * EPS * (size + costs.min(-1)))
        for entry in range(1, entries):
            if not np.any(code == entry):
                np.testing.assert_array_equal(book[entry], 0)
                continue
            members, own = x[code == entry], count[code == entry]
            mean = np.sum(own * members, axis=0) / np.sum(own, axis=0)
            np.testing.assert_allclose(book[entry], mean, rtol=4 * rounded, atol=4 * rounded)
        members = np.bincount(code.ravel(), minlength=entries)[1:]
        assert np.all(members[:-1] >= members[1:])


def test_errors_fall_with_entries_and_rise_with_length():
    few = [error(quantized(entries=entries)) for entries in (2, 4, 8, 16, 40)]
    assert all(more < less for less, more in itertools.pairwise(few))
    lengths = [error(quantized(length=length, entries=8)) for length in (1, 2, 4)]
    assert all(short < long for short, long in itertools.pairwise(lengths))
    own = error(quantized(entries=4, per="subspace"))
    assert own < error(quantized(entries=4))


def test_importance_moves_errors_to_where_they_count_less():
    plain, weighted = quantized(), quantized(importance=jnp.asarray(IMPORTANCE))
    assert error(weighted, importance=IMPORTANCE) < error(plain, importance=IMPORTANCE)
    assert error(plain) < error(weighted)
    # Equal importance is none, and its unit counts nothing.
    alike = quantized(importance=jnp.full((1, 1), 8.0))
    np.testing.assert_array_equal(alike.codes, plain.codes)
    # What counts nothing is still rounded to what is near.
    blind = quantized(importance=jnp.zeros(WEIGHT.shape))
    np.testing.assert_array_equal(blind.codes, plain.codes)


def test_the_best_codebook_of_a_small_case_is_found():
    vectors = np.float32([[3, 3], [3.25, 3], [4, -4], [4, -4.5], [0, 0]])
    leaf = quantized(vectors.reshape(10, 1), length=2, entries=3)
    means = {(0.0, 0.0), (3.125, 3.0), (4.0, -4.25)}
    assert set(map(tuple, np.asarray(leaf.codebooks[0]).tolist())) == means


def test_single_weights_have_the_codebook_of_k_means():
    centers = np.float32([-3, -1, 0, 2, 5])
    weight = centers[RANDOM.integers(0, 5, (40, 6))]
    weight = np.where(weight == 0, 0, weight + 0.1 * RANDOM.random(weight.shape)).astype("f4")
    spec = formats.codebook(3, per="tensor")
    scalar = quantize({"w": weight}, spec, rounding=rounding.nearest(sharing.k_means()))[0]["w"]
    book = jnp.sort(scalar.codebook.reshape(-1, 1), axis=0)
    # Of k-means's codebook, an iteration on vectors changes nothing.
    book = jnp.concatenate([jnp.zeros((1, 1)), book[book[:, 0] != 0]])
    x = clusters._blocks(jnp.asarray(weight).reshape(-1, 1))
    same = clusters._lloyd(x, jnp.ones_like(x), book, 1)
    np.testing.assert_allclose(same, book, rtol=1e-6)
    # And where clusters are apart, both find the same.
    vectors = sharing.Vectors(1, 5)
    leaf = sharing.product({"w": weight}, vectors, KEY)[0]["w"]
    four = formats.codebook(3, per="tensor")
    start = sharing.starts.optimal()
    best = quantize({"w": weight}, four, rounding=rounding.nearest(sharing.k_means(start)))[0]["w"]
    assert error(best, weight) <= error(leaf, weight) * (1 + 1e-5)
    means = [weight[np.round(weight - 0.05) == center].mean() for center in centers]
    np.testing.assert_allclose(np.sort(leaf.codebooks.ravel()), means, rtol=1e-6, atol=1e-7)


def test_zero_vectors_stay_and_few_distinct_vectors_are_exact():
    rare = np.float32([[0, 0, 0], [1, 2, 3], [-4, 0, 0.5], [7, 7, 7]])
    weight = rare[RANDOM.integers(0, 4, (10, 4))].reshape(10, 12).T
    leaf = quantized(weight, entries=9)
    np.testing.assert_allclose(leaf.materialize(), weight, rtol=4 * EPS)
    np.testing.assert_array_equal(np.asarray(leaf.materialize())[weight == 0], 0)
    assert np.count_nonzero(np.any(np.asarray(leaf.codebooks[0]) != 0, axis=1)) == 3
    zeros = quantized(np.zeros_like(WEIGHT))
    np.testing.assert_array_equal(zeros.materialize(), 0)


@pytest.mark.parametrize("unit", [2.0**-100, 2.0**100])
def test_the_unit_of_weights_does_not_matter(unit):
    plain, scaled = quantized(), quantized(WEIGHT * np.float32(unit))
    np.testing.assert_array_equal(plain.codes, scaled.codes)
    np.testing.assert_array_equal(plain.codebooks * np.float32(unit), scaled.codebooks)


def test_blocks_of_vectors_change_nothing(monkeypatch):
    x, chances = jnp.asarray(WEIGHT.reshape(1, 30, 4)), jnp.linspace(0.1, 0.9, 6)[None]
    clustered = clusters.clustered.__wrapped__
    whole = clustered(x, jnp.ones_like(x), chances, 20, "float32")
    monkeypatch.setattr(clusters, "_ROWS", 7)
    cut = clustered(x, jnp.ones_like(x), chances, 20, "float32")
    np.testing.assert_array_equal(whole.codes, cut.codes)
    np.testing.assert_allclose(whole.codebook, cut.codebook, rtol=1e-6, atol=1e-6)


def test_distances_to_all_entries_are_never_formed_at_once():
    x = jax.ShapeDtypeStruct((1, 2**17, 4), jnp.float32)
    chances = jax.ShapeDtypeStruct((1, 255), jnp.float32)
    compiled = clusters.clustered.lower(x, x, chances, iterations=9, dtype="float32").compile()
    distances = 4 * 256 * 2**17
    assert compiled.memory_analysis().temp_size_in_bytes < distances / 2


def test_entries_without_members_are_moved():
    x = clusters._blocks(jnp.asarray(WEIGHT.reshape(-1, 3)))
    weights = jnp.ones_like(x)
    far = jnp.full((6, 3), 1e3).at[0].set(0.0).at[1].set(1.0)
    book = clusters._lloyd(x, weights, far, 50)
    assert set(np.asarray(clusters._nearest(x[0], weights[0], book)).tolist()) == set(range(6))


def test_the_same_key_gives_the_same_leaf():
    first, again = quantized(entries=9), quantized(entries=9)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    vectors = sharing.Vectors(3, 9)
    other = sharing.product({"w": WEIGHT}, vectors, jax.random.key(1))[0]["w"]
    assert np.any(np.asarray(first.codebooks) != other.codebooks)
    traced = jax.jit(lambda x: sharing.product({"w": x}, vectors, KEY)[0]["w"])(WEIGHT)
    np.testing.assert_array_equal(traced.codes, first.codes)


@pytest.mark.parametrize("per", ["tensor", "subspace"])
def test_layers_have_codebooks_of_their_own(per):
    stack = np.stack([WEIGHT, 2 * WEIGHT])
    leaf = quantized(stack, axes=LAYERS, per=per)
    assert leaf.stacked
    assert leaf.codebooks.shape == (2, 1 if per == "tensor" else 4, 5, 3)
    counted = quantized(stack[1:], axes=LAYERS, per=per)
    assert error(leaf, stack) < 10 * error(counted, stack[1:])
    _, layers = jax.lax.scan(lambda _, layer: (None, layer.materialize()), None, leaf)
    np.testing.assert_array_equal(layers, leaf.materialize())
    np.testing.assert_array_equal(jax.vmap(lambda layer: layer.materialize())(leaf), layers)
    twice = jax.vmap(lambda _: leaf, axis_size=3)(jnp.arange(3))
    assert twice.shape == (3, 2, 12, 10)
    np.testing.assert_array_equal(twice.materialize()[2], leaf.materialize())


def test_vectors_lie_along_the_axis_that_data_are_summed_over():
    def model(params, ids):
        heads = jnp.einsum("nd,dhk->nhk", params["table"][ids], params["heads"])
        return jnp.einsum("nhk,hkd->nd", heads, params["out"])

    sizes = {"table": (7, 6), "heads": (6, 2, 4), "out": (2, 4, 6)}
    params = {name: jnp.asarray(RANDOM.normal(size=size), "f4") for name, size in sizes.items()}
    axes = jc.graph.axes(model, params, jnp.array([0, 1]))
    small, report = sharing.product(params, sharing.Vectors(2, 8), KEY, axes=axes)
    assert [row.action for row in report.leaves] == ["8 vectors of 2 per tensor"] * 3
    ids = jnp.array([2, 5, 1])
    table = small["table"]
    assert table.codes.shape == (7, 2)  # three codes of 4 bits for a row of six features
    rows = by_hand(np.asarray(table.unpacked_codes), np.asarray(table.codebooks))
    np.testing.assert_array_equal(table.materialize(), rows)
    assert small["out"].inputs == (2, 4)
    dense = {name: leaf.materialize() for name, leaf in small.items()}
    found = jax.jit(jc.materialized(model))(small, ids)
    np.testing.assert_allclose(found, model(dense, ids), rtol=1e-5, atol=1e-5)


def test_an_entry_has_the_summed_gradient_of_its_members():
    leaf, pull = quantized(per="subspace"), RANDOM.normal(size=WEIGHT.shape).astype(np.float32)
    small, technique = {"w": leaf, "b": jnp.ones(3)}, sharing.centroids()
    levels = technique.init(small)
    assert levels["w"].shape == (4, 4, 3)
    fn = jc.materialized(lambda params: jnp.sum(params["w"] * pull))
    grads = jax.jit(jax.grad(lambda levels: fn(technique.view(small, levels))))(levels)["w"]
    expected, codes = np.zeros((4, 5, 3)), np.asarray(leaf.unpacked_codes)
    for (output, place), code in np.ndenumerate(codes):
        expected[place, code] += pull.T.reshape(10, 4, 3)[output, place]
    np.testing.assert_allclose(grads, expected[:, 1:], rtol=1e-5, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, technique.freeze(small, levels), small)
    # Through the leaf itself, beside gradients of integers, which are nothing.
    own = jax.grad(fn, allow_int=True)(small)["w"]
    np.testing.assert_allclose(own.codebooks, expected, rtol=1e-5, atol=1e-5)


def test_training_moves_entries_alone():
    small, technique = {"w": quantized(stored="bfloat16")}, sharing.centroids()
    fn = jc.materialized(lambda params: jnp.mean(jnp.square(params["w"] - WEIGHT - 0.1)))
    levels, optimizer = technique.init(small), optax.adam(0.02)

    @jax.jit
    def step(levels, state):
        grads = jax.grad(lambda each: fn(technique.view(small, each)))(levels)
        updates, state = optimizer.update(grads, state, levels)
        return optax.apply_updates(levels, updates), state

    state = optimizer.init(levels)
    for _ in range(30):
        levels, state = step(levels, state)
    tuned = technique.freeze(small, levels)
    assert fn(tuned) < fn(small)
    assert tuned["w"].codebooks.dtype == jnp.bfloat16
    np.testing.assert_array_equal(tuned["w"].codes, small["w"].codes)
    np.testing.assert_array_equal(tuned["w"].codebooks[:, 0], 0)
    with pytest.raises(ValueError, match=r"what stands beside leaf 'w' has shape \(1, 3, 3\)"):
        technique.view(small, {"w": jnp.ones((1, 3, 3))})


@pytest.mark.parametrize("entries", [2, 3, 9, 200])
def test_it_is_read_moved_and_stored_as_any_leaf(tmp_path, entries):
    leaf = quantized(entries=entries)
    array, bits = leaf.materialize(), (entries - 1).bit_length()
    width = next(each for each in (1, 2, 4, 8) if each >= bits)
    assert (leaf.shape, leaf.bits) == ((12, 10), bits)
    assert leaf.size_bytes == 10 * -(-4 * width // 8) + 4 * entries * 3
    np.testing.assert_array_equal(leaf.T.T.materialize(), array)
    assert leaf.astype(jnp.bfloat16).materialize().dtype == jnp.bfloat16
    shown = f"ProductQuantized({entries} vectors of 3 per tensor, shape=(12, 10), dtype=float32)"
    assert repr(leaf) == shown
    _, static = leaf.tree_flatten_with_keys()
    read = json.loads(json.dumps(product_leaf.static_to_json(static)))
    assert product_leaf.static_from_json(read) == static
    assert jax.tree.structure(leaf.with_parts(leaf.parts)) == jax.tree.structure(leaf)

    path, tree = tmp_path / "product.safetensors", {"w": leaf, "turned": leaf.T, "b": jnp.ones(3)}
    for coders in (jc.storage.coders.FAST, jc.storage.coders.SMALLEST):
        jc.storage.save(path, tree, coders=coders)
        loaded = jc.storage.load(path)
        assert jax.tree.structure(loaded) == jax.tree.structure(tree)
        jax.tree.map(np.testing.assert_array_equal, loaded, tree)
        assert jc.storage.size(tree, coders=coders).disk == path.stat().st_size
    jc.storage.save(path, {"w": leaf})
    (told,) = jc.storage.describe(path).leaves
    assert told.spec == f"{entries} vectors of 3 per tensor"
    assert told.size_bytes <= -(-40 * bits // 8) + 4 * entries * 3
    deltas = tmp_path / "delta.safetensors"
    jc.storage.save_delta(deltas, {"w": leaf}, base=path)
    jax.tree.map(
        np.testing.assert_array_equal, jc.storage.load_delta(deltas, base=path), {"w": leaf}
    )


def test_programs_run_with_it():
    def model(params, x):
        return jax.nn.relu(x @ params["w"]) @ params["v"]

    codes = quantize({"v": jnp.asarray(WEIGHT.T)}, formats.int8())[0]["v"]
    params = {"w": quantized(), "v": codes}
    x = jnp.asarray(RANDOM.normal(size=(4, 12)), jnp.float32)
    expected = model(jc.materialize(params), x)
    fast = jc.quantize.run(model, jc.quantize.plan_execution(model, params, x, activations=None))
    for found in (jc.materialized(model), jax.jit(jc.materialized(model)), fast):
        np.testing.assert_allclose(found(params, x), expected, rtol=1e-5, atol=1e-5)
    restacked = jc.restack({"w": quantized(np.stack([WEIGHT] * 2), axes=LAYERS)}, LAYERS)
    assert restacked["w"].shape == (2, 12, 10)


def test_the_report_says_what_was_done():
    params = {"w": jnp.asarray(WEIGHT), "odd": jnp.ones((7, 4)), "b": jnp.ones(3)}
    vectors = sharing.Vectors(4, 16, stored="float16")
    assert vectors.bits_per_weight == 1.0
    _, report = sharing.product(params, vectors, KEY)
    rows = {row.name: row for row in report.leaves}
    assert rows["w"].action == "16 vectors of 4 per tensor"
    assert rows["w"].bytes_after == 10 * 2 + 2 * 16 * 4
    assert "does not divide its 7 weights along contracting axes" in rows["odd"].reason
    shapes = jax.eval_shape(lambda: params)
    assert sharing.product(shapes, vectors, KEY)[1] == report


def made(codes=((0, 1), (1, 0)), books=(1, 2, 3), inputs=(6,), dtype=jnp.float32, axes=DENSE):
    codebooks = jnp.ones(books)
    return jc.ProductQuantized.from_codes(
        jnp.asarray(codes), codebooks, inputs, dtype=dtype, axes=axes
    )


PARAMS = {"w": jnp.asarray(WEIGHT)}
VECTORS = functools.partial(sharing.product, PARAMS, key=KEY)
REFUSED = [
    (lambda: sharing.Vectors(0, 16), "Vectors(length=0) must be"),
    (lambda: sharing.Vectors(2.5, 16), "Vectors(length=2.5) must be an int"),
    (lambda: sharing.Vectors(4, 1), "Vectors(entries=1) must be from 2 to 256"),
    (lambda: sharing.Vectors(4, 257), "Vectors(entries=257) must be from 2 to 256"),
    (lambda: sharing.Vectors(4, 2, per="row"), "Vectors(per='row') must be 'tensor' or"),
    (lambda: sharing.Vectors(4, 2, stored="int8"), "Vectors(stored='int8') must be 'float32' or"),
    (lambda: sharing.Vectors(4, 2, iterations=0), "Vectors(iterations=0) must be"),
    (
        lambda: VECTORS(sharing.Vectors(5, 4)),
        "product: no leaf is left to change. 'w': codebook of 4 in groups of 5 does not divide its "
        "12 weights along contracting axes of (12,). Sizes that do: 2, 3, 4, 6, 12.",
    ),
    (
        lambda: VECTORS(sharing.Vectors(5, 4), select=jc.matching("w")),
        "product: leaf 'w' was asked for by name, but codebook of 4 in groups of 5 does not",
    ),
    (
        lambda: VECTORS(sharing.Vectors(3, 4), importance={"w": jnp.full((12, 1), -1.0)}),
        "must be finite and at least 0",
    ),
    (
        lambda: VECTORS(sharing.Vectors(3, 4), importance={"w": jnp.ones((10, 12))}),
        "product(importance=...): leaf 'w' has shape (12, 10), its importance (10, 12).",
    ),
    (
        lambda: VECTORS(sharing.Vectors(3, 4), importance={"v": jnp.ones((12, 10))}),
        "product(importance=...) has no leaf 'w'",
    ),
    (
        lambda: sharing.product({"w": PARAMS["w"].at[1, 2].set(jnp.nan)}, VECTORS_OF_3, KEY),
        "product: leaf 'w' holds 1 values that are not finite, the first at (1, 2).",
    ),
    (lambda: made(codes=((0, 2), (1, 0))), "codes from 0 to 2 must be in [0, 2)"),
    (lambda: made(codes=(0, 1)), "codes of shape (2,) must be (batch…, output…, vectors)"),
    (lambda: made(inputs=(7,)), "vectors of 3 along inputs of (7,), which they do not divide"),
    (lambda: made(inputs=(9,)), "2 codes for 3 vectors along inputs of (9,)"),
    (lambda: made(books=(3, 2, 3)), "3 codebooks for 2 vectors, neither one nor as many"),
    (lambda: made(books=(1, 300, 3)), "codebooks of 300 entries, not of 2 to 256"),
    (lambda: made(dtype=jnp.int8), "ProductQuantized.from_codes(dtype=int8) must be a real"),
    (lambda: jax.tree.map(lambda x: x * 0.5, made()), "cannot have codes of float32, not of uint8"),
    (lambda: made().with_parts({"codebooks": jnp.ones((1, 2, 4))}), "which they do not divide"),
]
VECTORS_OF_3 = sharing.Vectors(3, 4)


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[row[1] for row in REFUSED])
def test_refusals_say_what_and_why(call, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call()
    assert message in str(caught.value)
