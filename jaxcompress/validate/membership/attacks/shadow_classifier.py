"""A classifier per class that learns from shadow models' outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from jaxcompress.core.kinds import check_key
from jaxcompress.core.labels import class_labels
from jaxcompress.core.types import Array, Key
from jaxcompress.validate.membership.attacks import net
from jaxcompress.validate.membership.inputs import same_length, with_shadows


def shadow_classifier(
    target: ArrayLike, signals: ArrayLike, members: ArrayLike, labels: ArrayLike, key: Key
) -> np.ndarray:
    """Log odds of membership, by a net per class trained on shadow models' outputs.

    Not for: low false positive rates: at 0.1 % it found 0.5 % where `rmia` with two
    models found 2.7 %.

    Where the shadow models trained is known, so that a net can learn it from their
    outputs; of the target it knows the outputs alone. There is one net per class of
    the label, since outputs of classes differ.

    Also known as: Shokri attack, shadow model attack.

    Args:
      target: (n, k) finite, the target's outputs: logits or log probabilities.
      signals: (shadows, n, k), the same of the shadow models.
      members: (shadows, n) bool, what each was trained on.
      labels: (n,), integer, at least 0.
      key: of the nets' first weights.

    Returns:
      (n,) float64, in nats, higher = member.

    Raises:
      TypeError: an argument is no array of its kind, or `key` no key.
      ValueError: shapes do not fit, an output is not finite, or the shadow models have
        no members, or no non-members, in a class.

    Example:
      >>> members = np.array([[True, False] * 8, [False, True] * 8])
      >>> outputs, labels = 3.0 * members[..., None], np.zeros(16, int)
      >>> attack = jc.validate.membership.attacks.shadow_classifier
      >>> scores = attack(outputs[0], outputs, members, labels, jax.random.key(0))
      >>> np.array_equal(scores > 0, members[0])
      True

    Source: Shokri et al. 2017, arXiv:1610.05820, section V. Differs: the nets have one
    hidden layer of 32 units, and see columns of mean 0 and deviation 1.
    """
    caller = "shadow_classifier"
    target, signals, members = with_shadows(caller, target, signals, members, ", k")
    labels = np.asarray(class_labels(caller, np.asarray(labels)))
    if labels.ndim != 1 or (labels < 0).any():
        raise ValueError(f"{caller}(labels of shape {labels.shape}) needs (n,) classes from 0.")
    same_length(caller, target=len(target), labels=len(labels))
    check_key(caller, "key", key)
    classes = np.unique(labels)
    rows = [np.flatnonzero(labels == each) for each in classes]
    for each, chosen in zip(classes, rows, strict=True):
        inside = members[:, chosen]
        if inside.all() or not inside.any():
            raise ValueError(
                f"{caller}(members): the {len(chosen)} examples of class {each} are in"
                f" {'all' if inside.all() else 'none'} of the shadow models' training sets, so"
                " that there is nothing to tell apart. Train more shadows on halves."
            )
    columns = signals.reshape(-1, signals.shape[2])
    shown, asked = (net.standardized(each, columns) for each in (signals, target))
    # Classes of unequal size: rows are filled up to the longest, with weight 0.
    longest = max(map(len, rows))
    index = np.stack([np.resize(chosen, longest) for chosen in rows])  # (classes, rows)
    weights = np.arange(longest)[None] < np.array([len(chosen) for chosen in rows])[:, None]
    keys = jax.random.split(key, len(classes))
    scores = _log_odds(keys, shown[:, index], members[:, index], weights, asked[index])
    found = np.zeros(len(target))
    found[index[weights]] = np.asarray(scores)[weights]
    return found


@jax.jit
def _log_odds(keys: Array, shown: Array, members: Array, weights: Array, asked: Array) -> Array:
    """A net per class; (shadows, classes, rows, k) teach, (classes, rows, k) ask."""

    def of_class(key: Key, shown: Array, members: Array, weights: Array, asked: Array) -> Array:
        inputs = shown.reshape(-1, shown.shape[-1])  # (shadows · rows, k)
        truth = members.reshape(-1).astype(jnp.float32)
        kept = jnp.broadcast_to(weights, members.shape).reshape(-1).astype(jnp.float32)
        params, _ = net.trained(
            key, inputs, kept, lambda odds: optax.sigmoid_binary_cross_entropy(odds, truth)
        )
        return net.forward(params, asked)

    return jax.vmap(of_class, in_axes=(0, 1, 1, 0, 0))(keys, shown, members, weights, asked)
