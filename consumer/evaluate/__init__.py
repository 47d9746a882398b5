"""Backtests: the core's own models over a recorded file, judged by what they said before they could know."""
