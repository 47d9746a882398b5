"""Who is about to leave: features, heads, season, base rates."""
