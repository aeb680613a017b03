"""What JAX is told of compressed leaves, beside that they are pytree nodes."""

import importlib
import importlib.util
import json
from collections.abc import Callable
from typing import Any, NoReturn

import jax.export


def refuse_primitives(base: type[Any]) -> None:
    """Makes `lax` primitives say what to do when one is given a leaf of this class.

    Releases of JAX without `jax.experimental.hijax` raise a message of their own.
    """
    if importlib.util.find_spec("jax.experimental.hijax"):
        hijax = importlib.import_module("jax.experimental.hijax")
        hijax.register_hitype(base, _refuse_primitive)


def _refuse_primitive(leaf) -> NoReturn:
    # A ValueError, as JAX's own for objects with `__jax_array__`: JAX would put another
    # message in the place of that of a TypeError.
    raise ValueError(
        f"{leaf!r} is no array, and a lax primitive, such as a convolution of Equinox or Haiku, "
        "takes arrays alone. Call the model as jc.materialized(fn)(params, ...), or give it "
        "jc.materialize(params)."
    )


def register_export(
    leaf_class: type[Any],
    to_json: Callable[[tuple[Any, ...]], dict[Any, Any]],
    from_json: Callable[[dict[Any, Any]], tuple[Any, ...]],
) -> None:
    """Lets `jax.export` save programs that take or return leaves of this class.

    A saved program holds the structure of its arguments: the static part of a leaf is
    JSON there, and is read by any process that has imported jaxcompress.

    Args:
      leaf_class: a registered pytree node.
      to_json: the static part, as its flattening gives it, to plain values.
      from_json: the opposite.
    """
    jax.export.register_pytree_node_serialization(
        leaf_class,
        serialized_name=f"jaxcompress.{leaf_class.__name__}",
        serialize_auxdata=lambda static: json.dumps(to_json(static)).encode(),
        deserialize_auxdata=lambda written: from_json(json.loads(written)),
    )
