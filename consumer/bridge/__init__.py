"""The bridge: topics with other keys, other partition counts or no keys become the canonical ones, exactly once."""
