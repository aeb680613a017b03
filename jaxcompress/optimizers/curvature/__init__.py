"""Optimizers that ask for more than a gradient: Hessian diagonals, Newton, L-BFGS."""
