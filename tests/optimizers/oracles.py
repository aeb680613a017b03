"""The updates of the classics as the plainest NumPy loops, in float64.

Each takes the step t from 1, a gradient, a weight and a dict that it remembers in, and
gives the update without the learning rate. Where PyTorch and optax differ they follow
PyTorch's documented update (eps outside the root, sums from zero) unless told.
"""

import numpy as np


def sgd():
    return lambda t, g, w, memory: g


def momentum(mu=0.9, nesterov=False):
    def update(t, g, w, memory):
        memory["m"] = mu * memory.get("m", 0.0) + g
        return g + mu * memory["m"] if nesterov else memory["m"]

    return update


def adagrad(eps=1e-10, eps_root=0.0, initial=0.0):
    def update(t, g, w, memory):
        memory["s"] = memory.get("s", initial) + g**2
        return g / (np.sqrt(memory["s"] + eps_root) + eps)

    return update


def rmsprop(decay=0.9, eps=1e-8, eps_root=0.0, centered=False, mu=0.0):
    def update(t, g, w, memory):
        memory["v"] = decay * memory.get("v", 0.0) + (1 - decay) * g**2
        variance = memory["v"]
        if centered:
            memory["mean"] = decay * memory.get("mean", 0.0) + (1 - decay) * g
            variance = variance - memory["mean"] ** 2
        memory["m"] = mu * memory.get("m", 0.0) + g / (np.sqrt(variance + eps_root) + eps)
        return memory["m"]

    return update


def adam(b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, decay=0.0, ahead=False, largest=False):
    def update(t, g, w, memory):
        m = memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
        v = memory["v"] = b2 * memory.get("v", 0.0) + (1 - b2) * g**2
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        if ahead:
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        if largest:
            v_hat = memory["largest"] = np.maximum(memory.get("largest", 0.0), v_hat)
        return m_hat / (np.sqrt(v_hat + eps_root) + eps) + (decay * w if w.ndim > 1 else 0.0)

    return update


def lion(b1=0.9, b2=0.99, decay=0.0):
    def update(t, g, w, memory):
        m = memory.get("m", 0.0)
        memory["m"] = b2 * m + (1 - b2) * g
        return np.sign(b1 * m + (1 - b1) * g) + (decay * w if w.ndim > 1 else 0.0)

    return update


def trajectory(update, rate, params, grads):
    """The params after each step, by leaf; `grads` has a leading axis of steps."""
    history = {}
    for name, start in params.items():
        w, memory, history[name] = np.asarray(start, np.float64), {}, []
        for t, g in enumerate(np.asarray(grads[name], np.float64), start=1):
            w = w - rate * update(t, g, w, memory)
            history[name].append(w)
    return history
