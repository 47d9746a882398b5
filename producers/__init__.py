"""Event producers: a simulated population with a known truth, and readers of recorded streams."""
