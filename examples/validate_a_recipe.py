"""Cross-validates "prune 80 % and store in int8" on a table and on digits.

    python examples/validate_a_recipe.py

What is validated is the recipe: in each of five folds a network is trained, pruned and
quantized without the examples that it is then judged on. All folds are one compiled
program. The table is the ionosphere set where JAXCOMPRESS_DATA names a folder that has
it, else the breast cancer set that scikit-learn brings along.
"""

import functools
import os
import pathlib
import tempfile

import jax
import numpy as np
import optax

import jaxcompress as jc

STEPS, BATCH, SPARSITY = 600, 64, 0.8
cv = jc.validate.cross_validation


def model(params, x):
    """Logits of two layers."""
    hidden = jax.nn.relu(x @ params["hidden"] + params["bias"][None])
    return hidden @ params["out"]


def initial(key, features, classes):
    """128 units between features and classes."""
    he, (first, second) = jax.nn.initializers.he_normal(), jax.random.split(key)
    shapes = {"hidden": (features, 128), "out": (128, classes)}
    kernels = zip(shapes.items(), (first, second), strict=True)
    return {name: he(key, shape) for (name, shape), key in kernels} | {"bias": np.zeros(128, "f4")}


def digits():
    """64 pixels and 10 classes."""
    from sklearn.datasets import load_digits

    x, labels = load_digits(return_X_y=True)
    return np.asarray(x / 16, np.float32), np.asarray(labels, np.int32)


def table():
    """Measurements and two classes."""
    path = pathlib.Path(os.environ.get("JAXCOMPRESS_DATA", ""), "tabular", "ionosphere.csv")
    if path.exists():
        cells = np.genfromtxt(path, delimiter=",", dtype=str)
        return cells[:, :-1].astype(np.float32), (cells[:, -1] == "g").astype(np.int32)
    from sklearn.datasets import load_breast_cancer

    x, labels = load_breast_cancer(return_X_y=True)
    return np.asarray(x, np.float32), np.asarray(labels, np.int32)


def candidates(x, labels, steps):
    """Training alone, and training with pruning and int8 after it."""
    start = functools.partial(initial, features=x.shape[1], classes=labels.max() + 1)
    axes = jc.graph.axes(model, start(jax.random.key(0)), x[:1])
    adam = optax.adamw(optax.cosine_decay_schedule(3e-3, steps), weight_decay=1e-2)
    target = jc.prune.Target(
        jc.schedules.cubic(0.0, SPARSITY, begin=steps // 5, end=steps // 2), axes=axes
    )
    pruned = jc.prune.prune(
        adam,
        jc.prune.criteria.magnitude(),
        target,
        when=jc.schedules.every(max(1, steps // 20), end=steps // 2),
    )

    def training(optimizer):
        objective = jc.train.objectives.supervised(model, jc.distill.outputs.hard_targets)
        recipe = jc.train.Recipe(objective, optimizer)
        return jc.train.fitting(recipe, start, steps=steps, batch_size=BATCH)

    def compressed(examples, weights, key):
        params = training(pruned)(examples, weights, key)
        return jc.quantize.quantize(params, jc.quantize.int8(), axes=axes)[0]

    evaluate = cv.evaluating(jc.materialized(model))
    return {
        "float32": cv.Candidate(training(adam), evaluate),
        "pruned int8": cv.Candidate(compressed, evaluate),
    }


def validated(name, x, labels, card, steps):
    """Accuracy and bytes by recipe, and the card with what was found."""
    folds = jc.validate.splits.stratified_k_fold(labels, folds=5, seed=0)
    results, found = {}, {}
    for recipe, candidate in candidates(x, labels, steps).items():
        candidate = cv.prepared(cv.standardize(), candidate)
        results[recipe] = jc.validate.cross_validate(
            *candidate, (x, labels), folds, key=jax.random.key(1)
        )
        whole = jax.jit(candidate.fit)((x, labels), np.ones(len(x), "f4"), jax.random.key(2))
        size = jc.storage.size(whole.model).disk
        found[f"{name}, {recipe}"] = results[recipe].mean("accuracy"), size
        print(f"{name}, {recipe}: {size:,} bytes, {results[recipe]}")
        card = card.adding(results[recipe], about=f"{recipe} on {name}")
    dense, compressed = results.values()
    difference = cv.compare_folds(dense, compressed, "accuracy")
    print(f"{name}: {difference.verdict}\n")
    return found, card.adding(difference, about=f"pruned int8 against float32 on {name}")


def main(steps: int = STEPS) -> dict[str, tuple[float, int]]:
    """Mean accuracy over folds and bytes of the file, by data and recipe."""
    sets = {"digits": digits(), "table": table()}
    card = jc.validate.Card(
        "Pruned by 80 % and stored in int8",
        models=(
            jc.validate.cards.ModelRecord("float32"),
            jc.validate.cards.ModelRecord("pruned int8"),
        ),
        data=tuple(jc.validate.cards.data_record(*each) for each in sets.items()),
    )
    found = {}
    for name, (x, labels) in sets.items():
        more, card = validated(name, x, labels, card, steps)
        found |= more
    folder = tempfile.mkdtemp()
    jc.report.save_card(card, folder)
    print(f"The card is in {folder}.")
    return found


if __name__ == "__main__":
    main()
