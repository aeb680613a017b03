"""Weights in training: how they are rounded, by which gradient, and what is shipped."""
