"""The classics: each number of the params by itself, from its gradients."""
