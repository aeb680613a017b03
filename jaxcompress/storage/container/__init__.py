"""The file format: a safetensors container whose metadata describes the tree."""
