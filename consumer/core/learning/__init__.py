"""How models learn, are compared, and are kept as plain data."""
