"""Committed customer state: the changelog, local stores, and restoring one from the other."""
