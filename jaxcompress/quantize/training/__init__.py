"""Quantization-aware training (QAT): models that see weights and data as codes."""
