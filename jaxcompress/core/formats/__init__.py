"""Number formats: what a code stands for, what shares a scale, how scales are stored.

One file per choice, one for the way from a range to a grid (`grids`) and one for the
way from numbers to codes and back (`coding`). Nothing here knows what the numbers are:
weights, data, moments of an optimizer and files all go through it.
"""
