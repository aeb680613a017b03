"""Rounding: which code each weight gets, once its range is known."""
