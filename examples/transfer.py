"""A trained network moved to other classes, then compressed: what is left of it?

    python examples/transfer.py

A network learns the digits 0 to 4. For 5 to 9 it gets a new head, first that alone is
trained and then all layers. At last it trains on while it is pruned and rounded to 4
bits, and is compared with what it was on images that were held out.
"""

import pathlib
import tempfile

import jax
import numpy as np
import optax

import jaxcompress as jc
from jaxcompress.demo.data import Images, bundled_digits

STEPS, BATCH = 400, 64
AUGMENT, EVERYTHING, AS_IT_IS = jc.train.augment.shifts(1), jc.everything(), lambda params: params


def model(params, images):
    """Logits of five classes, (n, 5)."""
    x = images.reshape(len(images), -1)
    for kernel in (params["first"], params["second"]):
        x = jax.nn.relu(x @ kernel)
    return x @ params["head"]


def initial(key):
    """64 pixels, twice 128 units, 5 classes."""
    he, keys = jax.nn.initializers.he_normal(), jax.random.split(key, 3)
    shapes = {"first": (64, 128), "second": (128, 128), "head": (128, 5)}
    return {name: he(each, shape) for each, (name, shape) in zip(keys, shapes.items(), strict=True)}


def between(digits: Images, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of the digits from `low` to `high`, labelled from 0 on."""
    chosen = (digits.labels >= low) & (digits.labels <= high)
    return digits.images[chosen], digits.labels[chosen] - low


def trained(params, examples, optimizer, steps: int, select=EVERYTHING, view=AS_IT_IS):
    """The params after so many batches of slightly shifted images."""
    loss = jc.distill.outputs.hard_targets
    objective = jc.train.objectives.supervised(model, loss, view=view)
    recipe = jc.train.Recipe(objective, optimizer, select, AUGMENT)
    plan = jc.train.Plan(steps, min(BATCH, len(examples[0])))
    return jc.train.fit(recipe, params, examples, plan).params


def adam(rate: float, steps: int) -> optax.GradientTransformation:
    """Adam, whose rate falls to 0."""
    return optax.adam(optax.cosine_decay_schedule(rate, steps))


def main(steps: int = STEPS) -> dict[str, tuple[float, int]]:
    """Test accuracy on 5 to 9 and bytes of the file: fine-tuned, and compressed."""
    digits = bundled_digits(fractions=(0.6, 0.1, 0.3), seed=0)
    source, target = between(digits.train, 0, 4), between(digits.train, 5, 9)
    test = between(digits.test, 5, 9)
    key, head_key = jax.random.split(jax.random.key(0))
    whole = trained(initial(key), source, adam(3e-3, steps), steps)

    # The head first: its random weights would spoil what the layers below know.
    start = whole | {"head": initial(head_key)["head"]}
    start = trained(start, target, adam(3e-3, steps // 4), steps // 4, jc.matching("head"))
    tuned = trained(start, target, adam(1e-3, steps), steps)

    pruning = jc.prune.prune(
        adam(1e-3, steps),
        jc.prune.criteria.magnitude(),
        jc.schedules.cubic(0.0, 0.7, begin=0, end=steps // 2),
    )
    spec = jc.quantize.int4(group_size=32)
    sparse = trained(tuned, target, pruning, steps, view=jc.quantize.fake_quantize(spec))
    small, report = jc.quantize.quantize(sparse, spec)
    print(report)

    fn, folder = jc.materialized(model), pathlib.Path(tempfile.mkdtemp())
    accuracy = jc.validate.evaluate(fn, start, *test).accuracy
    print(f"{'new head alone':15} {accuracy:6.1%} right")
    sizes, evaluations = {}, {}
    for name, params in {"fine-tuned": tuned, "pruned, 4 bits": small}.items():
        path = folder / f"{name}.safetensors"
        jc.storage.save(path, params)
        sizes[name] = path.stat().st_size
        evaluations[name] = jc.validate.evaluate(fn, jc.storage.load(path), *test)
        print(f"{name:15} {evaluations[name].accuracy:6.1%} right   {sizes[name]:8,} bytes")
    print(jc.validate.compare(evaluations["fine-tuned"], evaluations["pruned, 4 bits"]).verdict)
    return {name: (evaluations[name].accuracy, size) for name, size in sizes.items()}


if __name__ == "__main__":
    main()
