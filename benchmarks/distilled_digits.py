"""Hinton's experiment on MNIST: a student that learns from soft targets.

    python -m benchmarks.distilled_digits --work DIR [--data DIR] [--part validation]

A perceptron 784-1200-1200-10 with dropout, bounded norms and shifted images teaches
784-800-800-10 at temperature 20. Its answers for every training image and four shifted
copies of each are computed once and kept in DIR, as are all params. Five students of
each kind are trained in one program: on labels of the images as they are, on the
teacher's answers for all copies, and on those without any 3. A student that never saw
a 3 gets a bias for it that is fitted to validation images. Test images are opened once
per kind.

What was published: a teacher with 67 errors, a student with 146 without it and 74 with
it, and 109 without threes after a bias correction. Hinton, Vinyals and Dean 2015,
arXiv:1503.02531, section 3.
"""

import argparse
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import lenets, runner
from benchmarks.removal import cropped
from jaxcompress.core.types import Array, Key, Params
from jaxcompress.demo.data import Images, Splits

TEACHER, STUDENT = (784, 1200, 1200, 10), (784, 800, 800, 10)
TEACHER_EPOCHS, EPOCHS, BATCH, COPIES, BORDER = 90, 30, 128, 4, 2
RATE, TEACHER_RATE, TEMPERATURE, SOFT = 1e-3, 1e-3, 20.0, 1.0
DROPPED, LIMIT, STUDENTS, MISSING = (0.0, 0.3, 0.3), 3.5, 5, 3
BIASES = np.arange(0.0, 12.01, 0.1)
SETTINGS = {
    "teacher": [TEACHER, TEACHER_EPOCHS, TEACHER_RATE, DROPPED, LIMIT],
    "student": [STUDENT, EPOCHS, RATE],
    "batch": BATCH,
    "copies": COPIES,
    "border": BORDER,
    "temperature": TEMPERATURE,
    "soft": SOFT,
}


class Kind(NamedTuple):
    """What students learn from.

    Attributes:
      shifted: whether from the shifted copies, too.
      soft: the weight of the teacher's answers, beside labels.
      without_threes: whether images of one class are left out.
      rounds: of `EPOCHS` each, every one on a cosine of its own. After one of labels of
        images as they are, no training image is answered wrongly.
    """

    shifted: bool
    soft: float
    without_threes: bool = False
    rounds: int = 2


KINDS = {
    "labels": Kind(False, 0.0, rounds=1),
    "answers": Kind(True, SOFT),
    "answers, without threes": Kind(True, 1.0, True),
}


def perceptron(params: Params, x: Array) -> Array:
    """Images (n, 28, 28, 1) to logits (n, 10)."""
    return dropped(params, x, None)


def dropped(params: Params, x: Array, key: Key | None) -> Array:
    """The same with dropout at a key; without one, none."""
    x = x.reshape(len(x), -1)
    for index, (kernel, bias) in enumerate(params):
        if key is not None:
            keep = jax.random.bernoulli(jax.random.fold_in(key, index), 1 - DROPPED[index], x.shape)
            x = jnp.where(keep, x / (1 - DROPPED[index]), 0.0)
        x = x @ kernel + bias[None]
        x = x if index == len(params) - 1 else jax.nn.relu(x)
    return x


def initial(sizes: tuple[int, ...], key: Key) -> Params:
    """He's normal weights, zero biases."""
    keys = jax.random.split(key, len(sizes) - 1)
    he = jax.nn.initializers.he_normal()
    pairs = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [(he(each, (before, after)), jnp.zeros(after)) for each, before, after in pairs]


def kept(path: pathlib.Path, like: Params, make: Callable[[], Params]) -> Params:
    """Params from a file, or made and left there."""
    if path.exists():
        return jc.storage.load(path, like=like)
    params = make()
    jc.storage.save(path, params)
    return params


def taught(parts: Splits, start: Params) -> Params:
    """The teacher, trained with dropout, bounded norms and shifted images."""
    steps = TEACHER_EPOCHS * (len(parts.train) // BATCH)
    optimizer = optax.chain(
        optax.adam(optax.cosine_decay_schedule(TEACHER_RATE, steps)),
        jc.optimizers.max_norm(LIMIT),
    )

    def loss(params: Params, x: Array, labels: Array, key: Key) -> Array:
        logits = dropped(params, x, key)
        return jc.distill.outputs.hard_targets(logits, labels).mean()

    params, _ = lenets.trained(
        loss,
        start,
        optimizer,
        parts.train,
        epochs=TEACHER_EPOCHS,
        batch_size=BATCH,
        border=BORDER,
        seed=0,
    )
    return params


def transferred(train: Images) -> Images:
    """The images, then copies of each, shifted at random; the same at each call."""
    keys = jax.random.split(jax.random.key(1), COPIES)
    shift = jax.jit(functools.partial(cropped, border=BORDER))
    copies = [
        np.asarray(shift(train.images[i : i + 5000], jax.random.fold_in(key, i)))
        for key in keys
        for i in range(0, len(train), 5000)
    ]
    return Images(
        np.concatenate([train.images, *copies]), np.concatenate([train.labels] * (COPIES + 1))
    )


def beginners() -> Params:
    """Five students that learned nothing yet, along axis 0."""
    keys = jax.random.split(jax.random.key(2), STUDENTS)
    return jax.vmap(functools.partial(initial, STUDENT))(keys)


def students(
    kind: Kind, params: Params, data: Images, answers: np.ndarray, plain: int, turn: int
) -> Params:
    """Five students after a round, in one program, each in an order of its own.

    Args:
      kind: what they learn from.
      params: theirs before the round, along axis 0.
      data: the images of the transfer set, those as they are first.
      answers: the teacher's logits for each, of any dtype.
      plain: how many images there are as they are.
      turn: which round it is.
    """
    usable = np.arange(len(data) if kind.shifted else plain)
    if kind.without_threes:
        usable = usable[data.labels[usable] != MISSING]
    per_epoch = plain // BATCH
    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, EPOCHS * per_epoch))

    def loss(params: Params, x: Array, labels: Array, targets: Array) -> Array:
        logits = perceptron(params, x)
        soft = jc.distill.outputs.soft_targets(logits, targets, temperature=TEMPERATURE)
        hard = jc.distill.outputs.hard_targets(logits, labels)
        return jc.distill.mix(hard, soft, weight=kind.soft).mean()

    def one(carry: tuple, x: Array, labels: Array, targets: Array) -> tuple:
        params, state = carry
        grads = jax.grad(loss)(params, x, labels, targets)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    @functools.partial(jax.jit, donate_argnums=0)
    def step(carry: tuple, chosen: Array, images: Array, labels: Array, targets: Array) -> tuple:
        return jax.vmap(one)(carry, images[chosen], labels[chosen], targets[chosen])

    carry = params, jax.vmap(optimizer.init)(params)
    arrays = jax.device_put((data.images, data.labels, answers))
    orders = [np.random.default_rng(STUDENTS * turn + seed) for seed in range(STUDENTS)]
    for _ in range(EPOCHS):
        drawn = np.stack([order.permutation(usable)[: per_epoch * BATCH] for order in orders])
        for chosen in drawn.reshape(STUDENTS, per_epoch, BATCH).swapaxes(0, 1):
            carry = step(carry, chosen, *arrays)
    return carry[0]


def errors(params: Params, images: Images) -> int:
    """How many answers are wrong."""
    found = jc.validate.evaluate(perceptron, params, images.images, images.labels)
    return int((~found.correct).sum())


def corrected(params: Params, images: Images) -> Params:
    """The params with the bias of the missing class that suits images best."""
    logits = jc.validate.predict(perceptron, params, images.images)
    raised = np.eye(10)[MISSING]
    right = [np.mean((logits + b * raised).argmax(-1) == images.labels) for b in BIASES]
    *hidden, (kernel, bias) = params
    return [*hidden, (kernel, bias + np.float32(BIASES[int(np.argmax(right))] * raised))]


def measure(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Errors of the teacher and of five students of one kind."""
    parts = lenets.splits(options.data, 0)
    start = initial(TEACHER, jax.random.key(0))
    teacher = kept(options.work / "teacher.safetensors", start, lambda: taught(parts, start))
    data, kind = transferred(parts.train), KINDS[name]
    answers = jc.train.teacher_cache.fill(
        options.work / "answers",
        perceptron,
        teacher,
        data.images,
        jc.train.teacher_cache.whole(jnp.float16),
        batch_size=5000,
    )
    stacked, plain = beginners(), len(parts.train)
    for turn in range(kind.rounds):
        learn = functools.partial(students, kind, stacked, data, np.asarray(answers), plain, turn)
        stacked = kept(options.work / f"{name} {turn}.safetensors", stacked, learn)
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(STUDENTS)]
    judging = getattr(parts, options.part)
    found: dict[str, Any] = {
        "teacher": errors(teacher, judging),
        "students": [errors(params, judging) for params in each],
        "of": len(judging),
    }
    if kind.without_threes:
        fixed = [corrected(params, parts.validation) for params in each]
        found["bias corrected"] = [errors(params, judging) for params in fixed]
    return found


def main() -> None:
    """Runs every kind that has no record yet, and prints errors."""
    parser = runner.arguments((__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=pathlib.Path, required=True, help="of teacher and cache")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for name in options.kinds:
        run = runner.record(
            "distilled_digits",
            functools.partial(measure, options, name),
            settings=SETTINGS | {"kind": KINDS[name]._asdict(), "part": options.part},
            seed=0,
            out=options.out,
        )
        print(f"{name:24} {run['figures']}", flush=True)


if __name__ == "__main__":
    main()
