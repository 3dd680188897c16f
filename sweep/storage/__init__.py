"""What lasts: the store of stages, with what launches on it tell one another and what looks after it."""
