"""Committed customer state on disk (LMDB) or in memory, under one contract."""
