"""Augmentation: functions (key, batch) to a batch, for the `augment` of a `Recipe`.

Those of images change the inputs, the first entry of a batch (inputs, *targets) or a
batch that is one array, and draw anew for each example. They keep dtypes.
"""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from jaxcompress.core import exports
from jaxcompress.core.checks import check_count, check_number, check_positive
from jaxcompress.core.kinds import check_function
from jaxcompress.core.messages import shown
from jaxcompress.core.names import named_leaves
from jaxcompress.core.sharding import with_results_sharded_alike
from jaxcompress.core.types import Array, Key, PyTree
from jaxcompress.train.recipe import Augment

exports.list_definitions(globals())

IMAGES = "Images are (examples, height, width, …)."


def chain(*augments: Augment) -> Augment:
    """Augmentations one after another, each with a key of its own; of none, no change.

    Args:
      augments: functions (key, batch) -> batch.

    Returns:
      Augmentation.

    Raises:
      TypeError: one is no function.

    Example:
      >>> shift, flip = jc.train.augment.shifts(2), jc.train.augment.flips()
      >>> augment = jc.train.augment.chain(shift, flip)
      >>> images = jnp.ones((4, 8, 8, 1))
      >>> augment(jax.random.key(0), (images, jnp.arange(4)))[0].shape
      (4, 8, 8, 1)

    Also known as: compose.
    """
    for each in augments:
        check_function("chain", "augments", each, "Pass functions augment(key, batch).")

    def augment(key: Key, batch: PyTree) -> PyTree:
        for number, each in enumerate(augments):
            batch = each(jax.random.fold_in(key, number), batch)
        return batch

    return augment


def shifts(border: int, *, fill: float = 0.0) -> Augment:
    """Moves each image by up to `border` pixels up or down and left or right.

    Not for: images whose border tells the class, since it may be cut off; `flips` keeps
    all pixels.

    Args:
      border: most pixels each way, at least 0; all moves are equally likely.
      fill: value of the pixels that come in.

    Returns:
      Augmentation of images (examples, height, width, …).

    Raises:
      ValueError: `border` is no count, or `fill` no number; when it is called: inputs
        are no images.

    Example:
      >>> augment = jc.train.augment.shifts(1)
      >>> image = jnp.zeros((1, 3, 3)).at[0, 1, 1].set(1.0)
      >>> int(augment(jax.random.key(0), image).sum())
      1

    Also known as: random translation, pad and crop.
    """
    border = check_count("shifts", "border", border, least=0)
    check_number("shifts", "fill", fill)

    def moved(key: Key, images: Array) -> Array:
        height, width = images.shape[1:3]
        wide = [(0, 0), (border, border), (border, border)] + [(0, 0)] * (images.ndim - 3)
        padded = jnp.pad(images, wide, constant_values=jnp.asarray(fill, images.dtype))
        return _windows(key, padded, height, width)

    return _of_images("shifts", moved)


def crops(height: int, width: int) -> Augment:
    """Cuts a window at a random place out of each image.

    Not for: images as large as the model's inputs; `shifts` moves those.

    Args:
      height: of the window, at least 1 and at most the images'.
      width: the same.

    Returns:
      Augmentation of images (examples, at least `height`, at least `width`, …) to
      (examples, height, width, …).

    Raises:
      ValueError: a size is no count; when it is called: images are smaller.

    Example:
      >>> augment = jc.train.augment.crops(24, 24)
      >>> augment(jax.random.key(0), jnp.ones((2, 32, 32, 3))).shape
      (2, 24, 24, 3)

    Also known as: random crop.
    """
    height = check_count("crops", "height", height)
    width = check_count("crops", "width", width)

    def cropped(key: Key, images: Array) -> Array:
        if images.shape[1] < height or images.shape[2] < width:
            raise ValueError(
                f"crops(height={height}, width={width}) is more than the images have, of shape "
                f"{images.shape}."
            )
        return _windows(key, images, height, width)

    return _of_images("crops", cropped)


def flips(*, axis: int = 2) -> Augment:
    """Flips each image with probability 1/2.

    Not for: images that a mirror makes others, such as digits and text; take `shifts`.

    Args:
      axis: 2 swaps left and right, 1 top and bottom; at least 1.

    Returns:
      Augmentation of images (examples, height, width, …).

    Raises:
      ValueError: `axis` is no count; when it is called: inputs are no images.

    Example:
      >>> augment = jc.train.augment.flips()
      >>> images = jnp.tile(jnp.arange(2.0), (3, 1, 1))
      >>> augment(jax.random.key(0), images)[:, 0].tolist()
      [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]

    Also known as: random horizontal flip, mirroring.
    """
    axis = check_count("flips", "axis", axis)

    def flipped(key: Key, images: Array) -> Array:
        if axis >= images.ndim:
            raise ValueError(f"flips(axis={axis}): images of shape {images.shape} have no such.")
        turned = jax.random.bernoulli(key, 0.5, images.shape[:1])
        turned = turned.reshape(-1, *[1] * (images.ndim - 1))  # (examples, 1, 1, …)
        return jnp.where(turned, jnp.flip(images, axis), images)

    return _of_images("flips", flipped)


def mixup(alpha: float = 0.2) -> Augment:
    """Mixes each example, inputs and targets, with another one of the batch.

        share_i ~ max(s, 1 - s), s ~ Beta(alpha, alpha)
        example_i <- share_i · example_i + (1 - share_i) · example_(b - 1 - i)

    Args:
      alpha: above 0; 1 mixes evenly, towards 0 examples stay whole.

    Returns:
      Augmentation of a batch whose arrays are all floating: class labels as
      probabilities, such as `jax.nn.one_hot` gives, with a loss that takes them.

    Raises:
      ValueError: `alpha` is not above 0.
      TypeError: when it is called: an array is not floating.

    Example:
      >>> augment = jc.train.augment.mixup(1.0)
      >>> x, targets = jnp.array([0.0, 1.0]), jnp.eye(2)
      >>> x, targets = augment(jax.random.key(0), (x, targets))
      >>> bool(jnp.all(x == targets[:, 1]))
      True

    Source: Zhang et al. 2018, arXiv:1710.09412, section 2. Differs: a share for each
    example and not for the batch, the larger for the example itself; batches are
    shuffled, so that its partner is the one that mirrors it.
    """
    check_positive("mixup", "alpha", alpha)

    def mixed(key: Key, batch: PyTree) -> PyTree:
        for name, leaf in named_leaves(batch).items():
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise TypeError(
                    f"mixup(...): {name!r} of the batch is {shown(leaf)}, not floating. Pass class "
                    "labels as probabilities: jax.nn.one_hot(labels, classes)."
                )
        size = len(jax.tree.leaves(batch)[0])
        drawn = jax.random.beta(key, alpha, alpha, (size,), jnp.float32)
        share = jnp.maximum(drawn, 1 - drawn)

        def mix(leaf: Array) -> Array:
            own = share.reshape(-1, *[1] * (leaf.ndim - 1)).astype(leaf.dtype)
            return own * leaf + (1 - own) * with_results_sharded_alike(jnp.flipud, leaf)

        return jax.tree.map(mix, batch)

    return mixed


def _of_images(caller: str, change: Callable[[Key, Array], Array]) -> Augment:
    """The augmentation that changes the inputs of a batch."""

    def augment(key: Key, batch: Any) -> Any:
        if isinstance(batch, tuple | list) and batch:
            return (augment(key, batch[0]), *batch[1:])
        if getattr(batch, "ndim", 0) < 3:
            raise ValueError(f"{caller}(...): the inputs are {shown(batch)}. {IMAGES}")
        images = cast(Array, batch)
        return with_results_sharded_alike(lambda images, key: change(key, images), images, key)

    return augment


def _windows(key: Key, images: Array, height: int, width: int) -> Array:
    """A window at a random place of each image (examples, height, width, …)."""
    count, tall, wide, *rest = images.shape
    most = jnp.array([tall - height, wide - width])
    corners = jax.random.randint(key, (count, 2), 0, most[None] + 1)

    def window(image: Array, corner: Array) -> Array:
        start = (*corner, *[0] * len(rest))
        return jax.lax.dynamic_slice(image, start, (height, width, *rest))

    return jax.vmap(window)(images, corners)
