"""Less memory: states in codes, factored, shared or low-rank; rounded params."""
