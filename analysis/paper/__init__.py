"""What the paper printed and claims, and what of a grid stands beside it."""
