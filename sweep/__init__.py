"""Grids of chains, run against a store: what there is to train, what is done, and how to train the rest.

`grid.load_grid`, `stages.Plan`, `store.Store`, `launch.launch`; `cli` is the command `ser-sweep`.
"""
