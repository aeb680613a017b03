"""Names of products: dots and convolutions of data that no weight is followed to.

A weight's site goes by the name of its leaf. A product has none, so it is named by
where the program wrote it: by its scopes, which survive edits of the file, jit and
tracing again, as line numbers and call stacks do not.
"""

import re
from collections.abc import Sequence

from jaxcompress.graph.formulas import formula_of

MARK = "@"
"""Names of products begin with it, and so do the patterns that choose products."""

PRODUCTS = {
    "conv_general_dilated": "conv",
    "dot_general": "dot",
    "ragged_dot_general": "ragged_dot",
}
"""The primitives that multiply and sum, and how a name calls them."""

# JAX writes what a scope was transformed by around its name: transpose(jvp(attention)).
_TRANSFORM = re.compile(r"\b(?:vmap|jvp|transpose|jit|pmap|checkpoint|rematted_computation)\(")


def product_name(primitive: str, scopes: Sequence[str], earlier: Sequence[str]) -> str:
    """The name of a product, numbered where one before it has the same.

    Args:
      primitive: a key of `PRODUCTS`.
      scopes: name stacks of the calls and loops around, outermost first, then its own.
      earlier: names of the products before it.

    Example:
      >>> product_name("dot_general", ["Block_0", "vmap(attention)"], [])
      '@Block_0/attention/dot'
      >>> product_name("dot_general", ["bqd,bkd->bqk"], ["@bqd,bkd->bqk"])
      '@bqd,bkd->bqk#2'
    """
    stripped = (re.sub(r"[()]", "", _TRANSFORM.sub("", scope)) for scope in scopes)
    parts = [part for scope in stripped for part in scope.split("/") if part]
    # `jnp.einsum` opens a scope of its own, which says more than "dot".
    if not (parts and formula_of(parts[-1])):
        parts.append(PRODUCTS[primitive])
    name = MARK + "/".join(parts)
    same = sum(other == name or other.startswith(f"{name}#") for other in earlier)
    return f"{name}#{same + 1}" if same else name
