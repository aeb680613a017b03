"""Params beside those that train: schedule-free, lookahead, running means."""
