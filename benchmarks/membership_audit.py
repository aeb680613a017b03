"""Membership inference on an overfitted net and on compressed copies of it.

    python -m benchmarks.membership_audit train [--data DIR] [--work DIR]
    python -m benchmarks.membership_audit attack
    python -m benchmarks.membership_audit show

A dense net learns 4,000 photographs of CIFAR-10, 16 x 16 and without augmentation, by
heart. 64 shadow models train so on random halves of 8,000, in one vmapped program, and
in the same program they are pruned (four in five weights gone, five epochs after that),
rounded to 8, 4 and 2 bits and distilled into a smaller net, each from its own training
examples alone. Models are the target in turn, with the others but their complement as
shadows. 4,000 more photographs, which no model saw, are the population of RMIA and of
quantile regression. 16 smaller nets train privately, and 16 without.

`train` keeps what the models said in `--work`, `attack` goes on where it was stopped.

Source: Carlini et al. 2022, arXiv:2112.03570; Zarifzadeh et al. 2024, arXiv:2312.03262.
"""

import functools
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcompress as jc
from benchmarks import runner
from jaxcompress.core.types import Array, Fit, Key, Params, PyTree

membership = jc.validate.membership
attacks = membership.attacks

POOL, OUTSIDE, SIDE, CLASSES = 8_000, 4_000, 16, 10
HIDDEN, SMALL = 256, 64
EPOCHS, AFTER, BATCH, RATE = 40, 5, 100, 2e-3
SPARSITY, TEMPERATURE = 0.8, 4.0
SHADOWS, FEW = 64, 16
PRIVATE = jc.train.SubsampledGaussian(
    clip=1.0, noise_multiplier=1.0, batch_size=250, population=POOL // 2, steps=240, microbatch=50
)
DELTA = 1e-5
VERSIONS = ("dense", "flipped", "pruned", "int8", "int4", "int2", "distilled")
"""What is asked of each model: `flipped` is `dense` on mirrored inputs."""
TOGETHER = {
    "dense alone": ("dense",),
    "dense and int8": ("dense", "int8"),
    "int8 and int2": ("int8", "int2"),
    "compressed copies": ("pruned", "int8", "int4", "int2", "distilled"),
    "small copies": ("pruned", "int4", "int2", "distilled"),
    "all": ("dense", "pruned", "int8", "int4", "int2", "distilled"),
}
TARGETS, FEW_TARGETS = 64, 16
"""Of the four attacks on the dense net that are compared, and of the others."""
LEARNED = 6
"""Models of the attacks that train nets: targets, and shadows of the others."""
SEED = 0


def photographs(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """The first 12,000 training images, 2 x 2 pixels averaged, and their labels."""
    with np.load(folder / "cifar10" / "cifar10_subset.npz") as arrays:
        images = arrays["x_train"][: POOL + OUTSIDE].astype(np.float32) / 255
        labels = arrays["y_train"][: POOL + OUTSIDE].astype(np.int32)
    images = images.reshape(-1, SIDE, 2, SIDE, 2, 3).mean((2, 4))
    return (images - images.mean((0, 1, 2))) / images.std((0, 1, 2)), labels


def first_weights(key: Key, hidden: int) -> Params:
    """He's for the hidden layer, and smaller ones for the output."""
    one, two = jax.random.split(key)
    size = SIDE * SIDE * 3
    return {
        "hidden": jax.random.normal(one, (size, hidden)) * (2 / size) ** 0.5,
        "hidden_bias": jnp.zeros(hidden),
        "out": jax.random.normal(two, (hidden, CLASSES)) / hidden**0.5,
        "out_bias": jnp.zeros(CLASSES),
    }


def net(params: Params, images: Array) -> Array:
    """Logits (n, 10) of images (n, 16, 16, 3)."""
    rows = images.reshape(len(images), -1)
    hidden = jax.nn.relu(rows @ params["hidden"] + params["hidden_bias"][None])
    return hidden @ params["out"] + params["out_bias"][None]


def trained(
    params: Params,
    loss: Callable[[Params, Array], Array],
    n: int,
    key: Key,
    epochs: int,
    masks: PyTree = None,
) -> Params:
    """Trains in shuffled batches; `loss` takes indices of examples."""
    steps = n // BATCH
    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, epochs * steps))

    def step(carry, index):
        params, state = carry
        grads = jax.grad(lambda params: loss(params, index).mean())(params)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        if masks is not None:
            params = jax.tree.map(jnp.multiply, params, masks)
        return (params, state), None

    def epoch(carry, key):
        order = jax.random.permutation(key, n)[: steps * BATCH].reshape(steps, BATCH)
        return jax.lax.scan(step, carry, order)

    start = params, optimizer.init(params)
    (params, _), _ = jax.lax.scan(epoch, start, jax.random.split(key, epochs))
    return params


def fit(examples: PyTree, weights: Array, key: Key) -> PyTree:
    """A dense net, a pruned one trained on, and a student, from the same examples."""
    del weights  # halves are equal
    images, labels = examples
    n = len(labels)
    keys = jax.random.split(key, 5)

    def learned(params: Params, index: Array) -> Array:
        return jc.distill.outputs.hard_targets(net(params, images[index]), labels[index])

    dense = trained(first_weights(keys[0], HIDDEN), learned, n, keys[1], EPOCHS)
    masks = {
        name: smallest_gone(leaf) if leaf.ndim > 1 else jnp.ones_like(leaf)
        for name, leaf in dense.items()
    }
    start = jax.tree.map(jnp.multiply, dense, masks)
    pruned = trained(start, learned, n, keys[2], AFTER, masks)
    teacher = net(dense, images)

    def taught(params: Params, index: Array) -> Array:
        student = net(params, images[index])
        return jc.distill.outputs.soft_targets(student, teacher[index], temperature=TEMPERATURE)

    student = trained(first_weights(keys[3], SMALL), taught, n, keys[4], EPOCHS)
    return {"dense": dense, "pruned": pruned, "distilled": student}


def smallest_gone(leaf: Array) -> Array:
    """1 for the weights that stay and 0 for the smallest in size."""
    axes = jc.LeafAxes(contracting=(0,), output=(1,))
    keep = jc.prune.patterns.unstructured(jnp.abs(leaf), SPARSITY, axes)
    return keep.astype(leaf.dtype)


def asked(model: PyTree, examples: PyTree) -> Array:
    """Scaled confidences (n, 7) in the order of `VERSIONS`, then logits (n, 10)."""
    images, labels = examples
    axes = jc.graph.axes(
        net, model["dense"], jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
    )
    copies = {
        name: jc.quantize.fake_quantize(spec, axes=axes)(model["dense"])
        for name, spec in {
            "int8": jc.quantize.int8(),
            "int4": jc.quantize.int4(),
            "int2": jc.quantize.formats.int2(),
        }.items()
    } | model
    logits = {name: net(params, images) for name, params in copies.items()}
    logits["flipped"] = net(model["dense"], images[:, :, ::-1])
    columns = [membership.scaled_confidence(logits[name], labels) for name in VERSIONS]
    return jnp.concatenate([jnp.stack(columns, axis=-1), logits["dense"]], axis=-1)


def small_fit(examples: PyTree, weights: Array, key: Key) -> Params:
    """The net that the private one is compared with, trained as the dense one."""
    images, labels = examples
    one, two = jax.random.split(key)

    def learned(params: Params, index: Array) -> Array:
        return jc.distill.outputs.hard_targets(net(params, images[index]), labels[index])

    return trained(first_weights(one, SMALL), learned, len(labels), two, EPOCHS)


def private_fit() -> Fit:
    """The same net under clipped and noisy gradients."""

    def loss(params: Params, example: PyTree) -> Array:
        image, label = example
        return jc.distill.outputs.hard_targets(net(params, image[None]), label[None])[0]

    init = functools.partial(first_weights, hidden=SMALL)
    return jc.train.private_fit(loss, init, optax.adam(RATE), PRIVATE)


def confidence(model: Params, examples: PyTree) -> Array:
    """Scaled confidences of one net, (n,)."""
    images, labels = examples
    return membership.scaled_confidence(net(model, images), labels)


KINDS: dict[str, tuple[Callable[[], Fit], membership.Signal, int]] = {
    "copies": (lambda: fit, asked, SHADOWS),
    "small": (lambda: small_fit, confidence, FEW),
    "private": (private_fit, confidence, FEW),
}
"""By name how models are trained and asked, and how many."""


def said(kind: str, work: pathlib.Path) -> membership.Shadows:
    """What the models of a kind said, from the file that `train` left."""
    return membership.Shadows.load(work / f"membership-{kind}.npz")


def train_all(folder: pathlib.Path, work: pathlib.Path, out: pathlib.Path) -> None:
    """Trains and asks the models of each kind, unless a file of theirs is there."""
    work.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        path = work / f"membership-{kind}.npz"
        if not path.exists():
            known = settings(kind, "every", "training")
            measure = functools.partial(train, kind, folder, path)
            record = runner.record("membership_audit", measure, settings=known, seed=SEED, out=out)
            print(kind, record["figures"], flush=True)


def train(kind: str, folder: pathlib.Path, path: pathlib.Path) -> dict[str, Any]:
    """Writes what the models of a kind say; gives the processor time it took."""
    recipe, signal, count = KINDS[kind]
    key = jax.random.fold_in(jax.random.key(SEED), list(KINDS).index(kind))
    members = np.pad(membership.halves(count, POOL, key), ((0, 0), (0, OUTSIDE)))
    begin = time.process_time()
    found = membership.shadows(recipe(), signal, photographs(folder), members, key, chunk=4)
    found.save(path)
    return {"processor_seconds": time.process_time() - begin, "in turn": found.in_turn}


def log_probability(phi: np.ndarray) -> np.ndarray:
    """The log probability of the label from the log odds of it."""
    return -np.logaddexp(0, -phi)


def probability(phi: np.ndarray) -> np.ndarray:
    """The probability of the label from the log odds of it."""
    return np.exp(log_probability(phi))


def calibrated(target: np.ndarray, signals: np.ndarray, members: np.ndarray) -> np.ndarray:
    """The loss against that of models without the example."""
    return attacks.calibrated(log_probability(target), log_probability(signals), members)


def rmia(models: int) -> membership.Attack:
    """With so many reference models, which choose the offset too."""

    def attack(target: np.ndarray, signals: np.ndarray, members: np.ndarray) -> np.ndarray:
        references, inside = probability(signals[:models]), members[:models]
        population = np.arange(len(target)) >= POOL
        offset = attacks.rmia_offset(references, inside, population)
        return attacks.rmia(probability(target), references, inside, population, offset=offset)

    return attack


def quantile(features: np.ndarray) -> membership.Attack:
    """On the first principal components of the images, without shadow models."""

    def attack(target: np.ndarray, signals: np.ndarray, members: np.ndarray) -> np.ndarray:
        del signals, members
        population = np.arange(len(target)) >= POOL
        return attacks.quantile_regression(target, features, population, jax.random.key(SEED))

    return attack


def components(images: np.ndarray, count: int = 32) -> np.ndarray:
    """The images' places along their directions of most variance."""
    rows = images.reshape(len(images), -1)
    _, directions = np.linalg.eigh(np.cov(rows.T))
    return rows @ directions[:, -count:]


lira = functools.partial(attacks.lira_online, variance=attacks.moderated_variance())
own = functools.partial(attacks.lira_online, variance=attacks.own_variance)
shared = functools.partial(attacks.lira_online, variance=attacks.shared_variance)
offline = functools.partial(attacks.lira_offline, variance=attacks.shared_variance)
joint = functools.partial(attacks.lira_joint, variance=attacks.moderated_variance())


def correctness(target: np.ndarray, signals: np.ndarray, members: np.ndarray) -> np.ndarray:
    """The share of right answers, of one query or of several."""
    del signals, members
    return (target.reshape(len(target), -1) > 0).mean(-1)


ON_ALL: dict[str, membership.Attack] = {
    "LiRA": lira,
    "loss": attacks.uncalibrated,
    "calibrated loss": calibrated,
    "RMIA, 4 models": rmia(4),
}
"""By name the attacks on every version."""
ON_DENSE: dict[str, membership.Attack] = ON_ALL | {
    "RMIA, 2 models": rmia(2),
    "LiRA, own variance": own,
    "LiRA, shared variance": shared,
    "LiRA offline": offline,
    "correctness": correctness,
}
ON_FEW: dict[str, membership.Attack] = {
    "LiRA, shared variance": shared,
    "loss": attacks.uncalibrated,
    "calibrated loss": calibrated,
}
"""Of 16 models a variance of each example's own is too much to ask."""


def settings(kind: str, version: str, attack: str) -> dict[str, Any]:
    """What the figures of one attack depend on."""
    common = {"kind": kind, "version": version, "attack": attack, "models": KINDS[kind][2]}
    common |= {"targets": targets(kind, version, attack)}
    common |= {"pool": POOL, "outside": OUTSIDE, "side": SIDE, "epochs": EPOCHS, "batch": BATCH}
    common |= {"rate": RATE, "hidden": HIDDEN if kind == "copies" else SMALL}
    if kind == "private":
        common |= {"private": PRIVATE.to_json()}
    if kind == "copies":
        common |= {"sparsity": SPARSITY, "after": AFTER, "temperature": TEMPERATURE}
    return common


def targets(kind: str, version: str, attack: str) -> int:
    """How many of the models are attacked."""
    if attack in ("quantile regression", "shadow classifier"):
        return LEARNED
    return TARGETS if version == "dense" and attack in ON_ALL else FEW_TARGETS


def judged(attack: membership.Attack, shadows: membership.Shadows, count: int) -> dict[str, Any]:
    """The audit over the first models as targets, and that of halves no target saw."""
    attacked = membership.leave_one_out(attack, shadows, targets=range(count))
    found, control = membership.audit(*attacked), membership.control(*attacked)
    record = found.to_json()
    record["curve"] = [[float(f"{each:.4g}") for each in axis[::2]] for axis in found.curve]
    kept = ("found", "auc", "auc_interval", "chance", "verdict")
    return record | {"control": {name: control.to_json()[name] for name in kept}}


def attack_all(folder: pathlib.Path, work: pathlib.Path, out: pathlib.Path) -> None:
    """Every attack on every version; what is on record already is not run again."""

    def kept(kind: str, version: str, name: str, measure: Callable, *given) -> None:
        known = settings(kind, version, name)
        counted = [known["targets"]] if measure is judged else []
        record = runner.record(
            "membership_audit",
            lambda: measure(*given, *counted),
            settings=known,
            seed=SEED,
            out=out,
        )
        print(f"{version:18} {name:26} {line(record['figures'])}", flush=True)

    def of_versions(*names: str) -> membership.Shadows:
        columns = [VERSIONS.index(name) for name in names]
        return copies.with_signals(lambda signals: signals[..., columns])

    copies, pool = said("copies", work), np.arange(POOL)
    for version in VERSIONS:
        whole = of_versions(version).with_signals(lambda signals: signals[..., 0])
        shadows = whole.examples(pool)
        kept("copies", version, "none", accuracies, shadows)
        for name, attack in (ON_DENSE if version == "dense" else ON_ALL).items():
            on = whole if name.startswith("RMIA") else shadows
            kept("copies", version, name, judged, attack, on)
    for version, names in TOGETHER.items():
        shadows = of_versions(*names).examples(pool)
        kept("copies", version, "LiRA", judged, joint, shadows)
    for kind in ("small", "private"):
        shadows = said(kind, work).examples(pool)
        kept(kind, kind, "none", accuracies, shadows)
        for name, attack in ON_FEW.items():
            kept(kind, kind, name, judged, attack, shadows)
    mirrored = of_versions("dense", "flipped").examples(pool)
    for name, attack in {"LiRA": lira, "correctness": correctness}.items():
        kept("copies", "dense", f"{name}, mirrored too", judged, attack, mirrored)
    images, labels = photographs(folder)
    few = copies.with_signals(lambda signals: signals[..., 0]).models(np.arange(LEARNED))
    attack = quantile(components(images))
    kept("copies", "dense", "quantile regression", judged, attack, few)
    few = copies.with_signals(lambda signals: signals[..., len(VERSIONS) :])
    few = few.models(np.arange(LEARNED)).examples(pool)
    kept("copies", "dense", "shadow classifier", judged, classifier(labels[:POOL]), few)
    kept("private", "private", "account", account)


def classifier(labels: np.ndarray) -> membership.Attack:
    """On logits, with a net per class."""
    return lambda target, signals, members: attacks.shadow_classifier(
        target, signals, members, labels, jax.random.key(SEED)
    )


def accuracies(shadows: membership.Shadows) -> dict[str, float]:
    """The share right of the members and of the others: log odds above 0, or close."""
    right, members = shadows.signals > 0, shadows.members
    return {"on members": float(right[members].mean()), "on others": float(right[~members].mean())}


def account() -> dict[str, float]:
    """What the private training spends, by the account of its Poisson batches."""
    noise, steps = PRIVATE.noise_multiplier, PRIVATE.steps
    spent = jc.validate.privacy.epsilon(noise, PRIVATE.sampling_probability, steps, DELTA)
    return {"epsilon": spent, "delta": DELTA}


def line(figures: dict[str, Any]) -> str:
    """The figures of an attack in a line."""
    if "epsilon" in figures:
        return f"epsilon {figures['epsilon']:.2f} at delta {figures['delta']:g}"
    if "found" not in figures:
        return "  ".join(f"{100 * share:.1f} % right {name}" for name, share in figures.items())
    shares = [f"{100 * each['true_positives']:6.2f} %" for each in figures["found"]]
    control = [f"{100 * each['true_positives']:.2f} %" for each in figures["control"]["found"]]
    return f"{' '.join(shares)}  area {figures['auc']:.3f}  control {' '.join(control)}"


COMPARED = (
    "LiRA",
    "LiRA, shared variance",
    "LiRA offline",
    "RMIA, 4 models",
    "RMIA, 2 models",
    "calibrated loss",
    "shadow classifier",
    "quantile regression",
    "loss",
)
"""The attacks of the picture."""
PUBLISHED = {
    "all together": ("all", "LiRA"),
    "dense": ("dense", "LiRA"),
    "int8": ("int8", "LiRA"),
    "int4": ("int4", "LiRA"),
    "pruned by 80 %": ("pruned", "LiRA"),
    "distilled": ("distilled", "LiRA"),
    "2 bits": ("int2", "LiRA"),
    "smaller net": ("small", "LiRA, shared variance"),
    "smaller net, private": ("private", "LiRA, shared variance"),
}
"""Its versions, by label."""


def show(out: pathlib.Path) -> None:
    """Draws the curves: every attack on the dense net, and LiRA on every version."""
    from matplotlib.figure import Figure

    records = runner.read(out / "membership_audit.json")
    audits = {
        (each["settings"]["version"], each["settings"]["attack"]): each["figures"]
        for each in records
        if "found" in each["figures"]
    }
    for (version, attack), figures in audits.items():
        print(f"{version:18} {attack:26} {line(figures)}")
    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    draw(left, "Attacks on the dense net", {name: audits["dense", name] for name in COMPARED})
    of_versions = {label: audits[which] for label, which in PUBLISHED.items()}
    draw(right, "LiRA on its copies, alone and together", of_versions)
    left.set_ylabel("share of members found")
    figure.savefig(out / "membership_audit.png", dpi=110)


def draw(axes, title: str, audits: dict[str, dict[str, Any]]) -> None:
    """Curves on logarithmic axes, those that find most first."""
    ranked = sorted(audits.items(), key=lambda each: -each[1]["found"][0]["true_positives"])
    for rank, (name, figures) in enumerate(ranked):
        false, true = np.asarray(figures["curve"])
        style = "solid" if rank < 10 else "dashed"
        # A share of 0 has no place on a logarithmic axis.
        axes.plot(false[true > 0], true[true > 0], label=name, linewidth=1.4, linestyle=style)
    axes.plot([1e-4, 1], [1e-4, 1], color="grey", linestyle=":", linewidth=1, label="chance")
    axes.set(xscale="log", yscale="log", xlim=(2.5e-4, 1), ylim=(2e-4, 1.1), title=title)
    axes.set_xlabel("false positive rate")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Runs one stage from the command line."""
    parser = runner.arguments("Audits what an overfitted net and its copies give away.")
    parser.add_argument("stage", choices=("train", "attack", "show"))
    work = pathlib.Path(tempfile.gettempdir()) / "jaxcompress-membership"
    parser.add_argument("--work", default=work, type=pathlib.Path, help="where signals are kept")
    given = parser.parse_args()
    if given.stage == "train":
        train_all(given.data, given.work, given.out)
    elif given.stage == "attack":
        attack_all(given.data, given.work, given.out)
    else:
        show(given.out)


if __name__ == "__main__":
    main()
