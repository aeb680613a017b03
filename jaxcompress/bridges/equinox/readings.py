"""Which axes of an Equinox layer's arrays its size fields describe.

Weights there are (outputs, inputs, …). No framework is known here.
"""

from typing import Any

from jaxcompress.bridges.sizes import Axes, groups_kept, tuples


def linear(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Weight (outputs, inputs)."""
    del layer
    *_, outputs, inputs = axes["weight"]
    return {"in_features": inputs.pair, "out_features": outputs.pair}


def convolution(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Weight (outputs, inputs of one group, *window)."""
    outputs, inputs, *_ = axes["weight"][-2 - layer.num_spatial_dims :]
    kept = groups_kept(layer.groups, outputs)
    return {
        "in_channels": (layer.groups * inputs.before, kept * inputs.after),
        "out_channels": outputs.pair,
        "groups": (layer.groups, kept),
    }


def embedding(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Weight (entries, features)."""
    del layer
    *_, entries, features = axes["weight"]
    return {"num_embeddings": entries.pair, "embedding_size": features.pair}


def norm(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Weight or bias of the normalized shape."""
    shape = axes.get("weight", axes.get("bias", ()))
    return {"shape": tuples(shape[-len(layer.shape) :])}


def group_norm(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Weight or bias (channels,)."""
    *_, channels = axes.get("weight", axes.get("bias", ()))
    return {
        "channels": channels.pair,
        "groups": (layer.groups, groups_kept(layer.groups, channels)),
    }


def batch_norm(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Weight or bias (channels,)."""
    del layer
    *_, channels = axes.get("weight", axes.get("bias", ()))
    return {"input_size": channels.pair}


def attention(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Projections (heads · size, inputs), and of the output (outputs, heads · size)."""
    query, query_size = axes["query_proj/weight"][-2:]
    value, value_size = axes["value_proj/weight"][-2:]
    heads = groups_kept(layer.num_heads, query)
    return {
        "num_heads": (layer.num_heads, heads),
        "qk_size": (query.before // layer.num_heads, query.after // heads),
        "vo_size": (value.before // layer.num_heads, value.after // heads),
        "query_size": query_size.pair,
        "key_size": axes["key_proj/weight"][-1].pair,
        "value_size": value_size.pair,
        "output_size": axes["output_proj/weight"][-2].pair,
    }


def recurrent_cell(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Weights (gates · hidden, inputs) and (gates · hidden, hidden)."""
    del layer
    return {
        "input_size": axes["weight_ih"][-1].pair,
        "hidden_size": axes["weight_hh"][-1].pair,
    }


def mlp(layer: Any, axes: Axes) -> dict[Any, Any]:
    """Layers side by side; a width only while all of them have the same."""
    weights = [axes[f"layers/{index}/weight"] for index in range(layer.depth + 1)]
    widths = {weight[-2].pair for weight in weights[:-1]}
    width = widths.pop() if len(widths) == 1 else (layer.width_size, layer.width_size)
    return {
        "in_size": weights[0][-1].pair,
        "out_size": weights[-1][-2].pair,
        "width_size": width,
    }
