"""A launch: which trial comes next, on what, and what the user hears of it."""
