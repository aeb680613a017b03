"""Which axes of a layer's arrays its size fields describe.

One reading per kind of layer, for Linen and NNX alike: it gives every field that either
may have. No framework is known here.
"""

from typing import Any

from jaxcompress.bridges.sizes import Axes, Extent, groups_kept, tuples


def linear(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Kernel (inputs, outputs)."""
    del layer
    *_, inputs, outputs = axes["kernel"]
    return {
        "in_features": inputs.pair,
        "features": outputs.pair,
        "out_features": outputs.pair,
    }


def linear_general(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Kernel (*inputs, *outputs)."""
    features = layer.out_features if hasattr(layer, "out_features") else layer.features
    count = len(features) if isinstance(features, tuple | list) else 1
    kernel = axes["kernel"]
    inputs, outputs = kernel[:-count], kernel[-count:]
    return {
        "in_features": tuples(inputs[-len(getattr(layer, "in_features", inputs)) :]),
        "out_features": tuples(outputs),
        "features": outputs[0].pair if isinstance(features, int) else tuples(outputs),
    }


def convolution(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Kernel (*window, inputs of one group, outputs)."""
    kernel = axes["kernel"]
    *_, inputs, outputs = kernel
    if getattr(layer, "transpose_kernel", False):
        inputs, outputs = outputs, inputs
    groups = getattr(layer, "feature_group_count", 1)
    kept = groups_kept(groups, outputs)
    return {
        "in_features": (groups * inputs.before, kept * inputs.after),
        "features": outputs.pair,
        "out_features": outputs.pair,
        "feature_group_count": (groups, kept),
        "kernel_shape": tuples(kernel[-len(getattr(layer, "kernel_shape", kernel)) :]),
    }


def einsum(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Kernel and bias of any shape."""
    del layer
    kernel = tuples(axes["kernel"])
    return {"kernel_shape": kernel, "shape": kernel, "bias_shape": tuples(axes.get("bias", ()))}


def embedding(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Embedding (entries, features)."""
    del layer
    *_, entries, features = axes["embedding"]
    return {"num_embeddings": entries.pair, "features": features.pair}


def norm(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Scale, bias or mean (features,)."""
    del layer
    return {"num_features": _first(axes, "scale", "bias", "mean")[-1].pair}


def group_norm(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Scale or bias (groups · size,)."""
    features = _first(axes, "scale", "bias")[-1]
    groups = layer.num_groups or features.before // layer.group_size
    kept = groups_kept(groups, features)
    return {
        "num_groups": (groups, kept),
        "group_size": (features.before // groups, features.after // kept),
    }


def attention(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Query and key kernels (inputs, heads, size), out kernel (heads, size, outputs).

    In Linen a width that is left out is that of the inputs.
    """
    *_, inputs, heads, size = axes["query/kernel"]
    *_, key_inputs, key_heads, _ = axes["key/kernel"]
    outputs = axes["out/kernel"][-1]
    width = (heads.before * size.before, heads.after * size.after)
    return {
        "num_heads": heads.pair,
        "num_kv_heads": key_heads.pair,
        "head_dim": size.pair,
        "in_features": inputs.pair,
        "in_kv_features": key_inputs.pair,
        "qkv_features": _unless_left_out(layer, "qkv_features", width, inputs),
        "out_features": _unless_left_out(layer, "out_features", outputs.pair, inputs),
    }


def recurrent_cell(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Kernels of one gate or of all beside each other: (inputs, ·), (hidden, ·)."""
    del layer
    inputs = _first(axes, *(f"{name}/kernel" for name in ("dense_i", "ii", "in", "i")))[-2]
    hidden = _first(axes, *(f"{name}/kernel" for name in ("dense_h", "hi", "hn", "h")))[-2]
    return {
        "in_features": inputs.pair,
        "hidden_features": hidden.pair,
        "features": hidden.pair,
    }


def low_rank(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Factors (inputs, rank) and (rank, outputs)."""
    del layer
    return {"in_features": axes["lora_a"][-2].pair, "out_features": axes["lora_b"][-1].pair}


def _first(axes: Axes, *leaves: str) -> tuple[Extent, ...]:
    return axes[next((leaf for leaf in leaves if leaf in axes), leaves[0])]


def _unless_left_out(layer, field: str, pair: tuple[int, int], inputs: Extent) -> tuple[Any, ...]:
    if getattr(layer, field) is not None:
        return pair
    return None, (None if pair[1] == inputs.after else pair[1])
