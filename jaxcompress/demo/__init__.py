"""Trains, compresses, measures and saves a model. Run it with `jaxcompress demo`.

A reader's way through: `recipe` (every choice), `data`, `models`, `training` (one loop
for all variants), `steps` (what each trains with), `plan` (what is checked before),
`variants` (what is compressed and how), `proof` (what it cost), `fresh` (the check in
another process), `folder` (results whole or not at all), `run` (the order).
"""
