"""Grids of chains, run against a store: what there is to train, what is done, and how to train the rest.

`planning` knows nothing of stores, `storage` nothing of launches, and `running` both. `inference` asks networks that a
store keeps, and `exact_audit` compares such networks bit by bit.
"""
