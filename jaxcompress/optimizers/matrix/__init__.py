"""Optimizers that see a kernel as a matrix: Muon, SOAP, Shampoo."""
