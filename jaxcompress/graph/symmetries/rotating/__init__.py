"""How one dim is followed through a program while it is rotated."""
