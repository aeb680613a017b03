"""The leaves of a module's params, by which any tree of them is put in its place."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcompress.core.leaf import is_compressed
from jaxcompress.core.names import map_named, named_leaves
from jaxcompress.core.types import Params

OWN = "Pass the params of the bridge, or what was trained, compressed or loaded of them."


class Layout(NamedTuple):
    """What the params of a module are, without their values.

    Attributes:
      structure: of the tree, where a compressed leaf counts as one.
      shapes: of the leaves by name, in the tree's order.
    """

    structure: Any
    shapes: dict[str, tuple[int, ...]]

    def arranged(self, caller: str, params: Params) -> Params:
        """The params in the module's structure, each leaf by its name.

        A file loaded without `like` is in dicts; what is no floating array is left out.

        Raises:
          ValueError: a leaf is missing, or one is not the module's.

        Example:
          >>> layout = layout_of([jnp.zeros(2), jnp.ones(2)])
          >>> layout.arranged("fn", {"1": 1.0, "0": 0.0})
          [0.0, 1.0]
          >>> layout.arranged("fn", {"0": 0.0})
          Traceback (most recent call last):
          ValueError: fn(params=...) has no leaf '1', which the module has. ...
        """
        if jax.tree.structure(params, is_leaf=is_compressed) == self.structure:
            return params
        given = {name: leaf for name, leaf in named_leaves(params).items() if _is_floating(leaf)}
        for name in self.shapes:
            if name not in given:
                raise ValueError(
                    f"{caller}(params=...) has no leaf {name!r}, which the module has. {OWN}"
                )
        for name in given:
            if name not in self.shapes:
                raise ValueError(
                    f"{caller}(params=...) has a leaf {name!r}, which the module has not. {OWN}"
                )
        return jax.tree.unflatten(self.structure, [given[name] for name in self.shapes])

    def fitting(self, caller: str, params: Params, shrunk: str) -> Params:
        """`arranged`, of params of the module's own shapes.

        Raises:
          ValueError: as `arranged`; or a leaf has another shape.
        """
        params = self.arranged(caller, params)
        for name, leaf in named_leaves(params).items():
            if jnp.shape(leaf) != self.shapes[name]:
                raise ValueError(
                    f"{caller}(params=...): leaf {name!r} has shape {jnp.shape(leaf)}, and "
                    f"{self.shapes[name]} in the module. Of what a removal made smaller {shrunk} "
                    "makes the module."
                )
        return params


def updated(given: Params, new: Params) -> Params:
    """The tree that was given, with what is new of its leaves by their names.

    The module met the arrays of compressed weights; these come back as they came.
    """
    now = named_leaves(new)
    return map_named(lambda name, old: old if is_compressed(old) else now.get(name, old), given)


def layout_of(params: Params) -> Layout:
    """The layout of a module's own params."""
    shapes = {name: tuple(leaf.shape) for name, leaf in named_leaves(params).items()}
    return Layout(jax.tree.structure(params, is_leaf=is_compressed), shapes)


def _is_floating(leaf: Any) -> bool:
    return jnp.issubdtype(getattr(leaf, "dtype", type(leaf)), jnp.inexact)
