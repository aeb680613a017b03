"""Pruning while training: masks in the optimizer, views, gates, sparse training."""
