"""What a weight is worth: by its size, its gradients, the data that it meets."""
