"""Where weights may go: anywhere, in groups, as whole units, heads or blocks."""
