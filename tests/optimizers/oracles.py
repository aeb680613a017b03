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


def muon(mu=0.95, steps=5, eps=1e-7, decay=0.0, scale=lambda m, n: max(1, m / n) ** 0.5):
    """On the singular values, which are all that Newton-Schulz changes."""
    others = adam(0.9, 0.95)

    def update(t, g, w, memory):
        if w.ndim < 2:
            return others(t, g, w, memory)
        memory["m"] = mu * memory.get("m", 0.0) + g
        u, s, v = np.linalg.svd((g + mu * memory["m"]).T, full_matrices=False)
        s = s / (np.sqrt(np.sum(s**2)) + eps)
        for _ in range(steps):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        return scale(*w.T.shape) * ((u * s) @ v).T + decay * w

    return update


def soap(b1=0.95, b2=0.95, eps=1e-8, every=10, decay=0.0):
    """Both sides rotated, the outputs as rows."""
    others = adam(b1, b2, eps)

    def update(t, g, w, memory):
        if w.ndim < 2:
            return others(t, g, w, memory)
        g, step = g.T, 0.0 * g
        if t > 1:
            left, right = memory["left"], memory["right"]
            m = memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
            v = b2 * memory.get("v", 0.0) + (1 - b2) * (left.T @ g @ right) ** 2
            memory["v"] = v
            m_hat, v_hat = m / (1 - b1 ** (t - 1)), v / (1 - b2 ** (t - 1))
            step = (left @ (left.T @ m_hat @ right / (np.sqrt(v_hat) + eps)) @ right.T).T
        for side, product in {"left": g @ g.T, "right": g.T @ g}.items():
            kept = memory["mean " + side] = (
                b2 * memory.get("mean " + side, 0.0) + (1 - b2) * product
            )
            if t == 1:
                memory[side] = np.linalg.eigh(kept)[1][:, ::-1]
            elif (t - 1) % every == 0:
                memory["new " + side] = np.linalg.qr(kept @ memory[side])[0]
        if t > 1 and (t - 1) % every == 0:
            old = left, right
            left, right = memory["left"], memory["right"] = memory["new left"], memory["new right"]
            first, second = left.T @ old[0], old[1].T @ right
            memory["v"] = first**2 @ v @ second**2
            turned = first @ (old[0].T @ m_hat @ old[1]) @ second
            memory["v"] = np.maximum(memory["v"], turned**2 * (1 - b2 ** (t - 1)))
        return step + decay * w

    return update


def shampoo(b1=0.9, retention=0.95, every=10, block=1024, ridge=1e-6, decay=0.0):
    """One block of columns after the other; Adam gives the length."""
    graft = adam()

    def inverse_root(matrix):
        values, vectors = np.linalg.eigh(matrix)
        return (vectors * (values + ridge * values[-1]) ** -0.25) @ vectors.T

    def update(t, g, w, memory):
        length = graft(t, g, w, memory.setdefault("graft", {}))
        if w.ndim < 2:
            return length
        mean = memory["mean"] = b1 * memory.get("mean", 0.0) + (1 - b1) * g
        direction = np.zeros_like(g)
        for start in range(0, len(g), block):
            part, kept = slice(start, start + block), memory.setdefault(start, {})
            gradient = g[part].T
            for side, product in {0: gradient @ gradient.T, 1: gradient.T @ gradient}.items():
                kept[side] = retention * kept.get(side, 0.0) + product
                if t % every == 0:
                    kept["root", side] = inverse_root(kept[side])
            if t >= every:
                direction[part] = (kept["root", 0] @ mean[part].T @ kept["root", 1]).T
        if t >= every:
            length = direction * np.linalg.norm(length) / np.linalg.norm(direction)
        return length + decay * w

    return update


def adafactor(exponent=0.8, eps=1e-30, limit=1.0, decay=0.0):
    """Kernels are (in, out): a row of the second moment is a column here."""

    def update(t, g, w, retention):
        share, squares = t**-exponent, g**2 + eps
        margins = [squares] if w.ndim < 2 else [squares.mean(axis=1), squares.mean(axis=0)]
        old = retention.get("margins", [0.0, 0.0])
        margins = [(1 - share) * m + share * x for m, x in zip(old, margins, strict=False)]
        retention["margins"] = margins
        v = margins[0] if w.ndim < 2 else np.outer(*margins) / margins[1].mean()
        u = g / np.sqrt(v)
        return u / max(1, np.sqrt(np.mean(u**2)) / limit) + (decay * w if w.ndim > 1 else 0.0)

    return update


def adam_mini(b1=0.9, b2=0.999, eps=1e-8, decay=0.0):
    """One mean of squares for each output of a kernel (in, out)."""

    def update(t, g, w, retention):
        m = retention["m"] = b1 * retention.get("m", 0.0) + (1 - b1) * g
        squares = np.mean(g**2, axis=0) if w.ndim > 1 else g**2
        v = retention["v"] = b2 * retention.get("v", 0.0) + (1 - b2) * squares
        step = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        return step + (decay * w if w.ndim > 1 else 0.0)

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
