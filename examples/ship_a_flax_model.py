"""A trained Flax NNX model in 4 bits: one file, run by the model as it always was.

    python examples/ship_a_flax_model.py

The last few steps train through the codes (quantization-aware), then the same spec
freezes them. What it cost is told by a paired test on images that were held out.
"""

import pathlib
import tempfile

import jax
import numpy as np
import optax
from flax import nnx

import jaxcompress as jc
from jaxcompress.bridges import nnx as bridge
from jaxcompress.demo.data import Images, bundled_digits

STEPS, BATCH = 300, 64


class Digits(nnx.Module):
    """A small convolutional network."""

    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(1, 32, (3, 3), strides=2, rngs=rngs)
        self.hidden = nnx.Linear(4 * 4 * 32, 128, rngs=rngs)
        self.head = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, images):
        """Logits, (n, 10)."""
        x = nnx.relu(self.conv(images)).reshape(len(images), -1)
        return self.head(nnx.relu(self.hidden(x)))


def train(fn, params, digits: Images, steps: int, rate: float):
    """The params after so many batches of AdamW."""
    optimizer = optax.adamw(optax.cosine_decay_schedule(rate, steps))

    @jax.jit
    def step(params, opt_state, images, labels):
        def loss(params):
            return jc.distill.outputs.hard_targets(fn(params, images), labels).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    opt_state, random = optimizer.init(params), np.random.default_rng(0)
    for _ in range(steps):
        batch = digits[random.integers(len(digits), size=BATCH)]
        params, opt_state = step(params, opt_state, batch.images, batch.labels)
    return params


def main(steps: int = STEPS) -> dict[str, tuple[float, int]]:
    """Test accuracy and bytes of the file: float32 and 4 bits."""
    digits = bundled_digits(fractions=(0.6, 0.1, 0.3), seed=0)
    functional = bridge.functional(Digits(nnx.Rngs(0)))
    fn, params = functional.fn, train(functional.fn, functional.params, digits.train, steps, 2e-3)

    axes = jc.graph.axes(fn, params, digits.test.images[:1])
    spec = jc.quantize.int4(group_size=32)
    select = jc.all_of(jc.weights(axes), jc.none_of(jc.matching("conv/*")))
    view = jc.quantize.fake_quantize(spec, select=select, axes=axes)
    tuned = train(
        lambda params, images: fn(view(params), images), params, digits.train, steps // 2, 5e-4
    )
    shipped, report = jc.quantize.quantize(tuned, spec, select=select, axes=axes)
    print(report)

    folder, images, labels = (
        pathlib.Path(tempfile.mkdtemp()),
        digits.test.images,
        digits.test.labels,
    )
    sizes, evaluations = {}, {}
    for name, tree in (("float32", params), ("int4", shipped)):
        path = folder / f"{name}.safetensors"
        jc.storage.save(path, tree)
        sizes[name] = path.stat().st_size
        evaluations[name] = jc.validate.evaluate(fn, jc.storage.load(path), images, labels)
        print(f"{name:8} {evaluations[name].accuracy:6.1%} right   {sizes[name]:8,} bytes")
    print(jc.validate.compare(evaluations["float32"], evaluations["int4"]).verdict)
    return {name: (evaluations[name].accuracy, size) for name, size in sizes.items()}


if __name__ == "__main__":
    main()
