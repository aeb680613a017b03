"""Whole networks of signs on words of bits, with thresholds in the place of floats."""
