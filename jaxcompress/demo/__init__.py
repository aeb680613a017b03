"""The main job: train, compress, prove, save. Run it with `jaxcompress demo`.

A reader's way through: `recipe` (every choice), `data`, `models`, `training` (one step
for all variants), `variants` (what is compressed and how), `proof` (what it cost),
`fresh` (the check in another process), `run` (the order).
"""
