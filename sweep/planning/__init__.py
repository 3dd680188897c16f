"""What there is to train, before anything runs: grids, chains and their stages, and what they will cost."""
