"""The file: a safetensors container whose texts say how a tree lies in it."""
