"""Pruning while training: optimizers that keep masks in their state."""
