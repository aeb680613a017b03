"""How much goes where: one sparsity for all, or shares by shape and by scores."""
