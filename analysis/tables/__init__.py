"""Tables of every kind, and the formats that they are written in."""
