"""Pruning without training: masks and params from weights as they are."""
