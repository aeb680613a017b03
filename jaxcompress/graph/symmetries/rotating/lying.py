"""Where a dim lies: along which axes, and how often."""

from jaxcompress.graph.surgery.dims import Dim, atoms, product, root


class Lying:
    """Which axes hold which atoms, looked up once."""

    def __init__(self):
        self.known: dict[int, frozenset[Dim]] = {}

    def atoms(self, d: Dim) -> frozenset[Dim]:
        # By identity: the records keep every Dim alive.
        if id(d) not in self.known:
            self.known[id(d)] = frozenset(atoms(d))
        return self.known[id(d)]


def lies_twice(d: Dim, atom: Dim) -> bool:
    """Whether an index of the axis is made of two indices of the atom, as in d × d."""
    d = root(d)
    if d.form is None:
        return False
    holding = [part for part in d.parts if atom in atoms(part)]
    return (d.form is product and len(holding) > 1) or any(lies_twice(p, atom) for p in holding)
