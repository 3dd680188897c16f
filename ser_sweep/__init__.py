"""The way in, above all rooms: the command `ser-sweep`, and what a program calls."""
