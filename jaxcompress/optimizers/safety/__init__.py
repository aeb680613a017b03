"""Safe gradients: clipping, guards, loss scaling, monitors, noise."""
