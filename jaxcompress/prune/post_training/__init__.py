"""Pruning a trained model without further training."""
