"""Metric names, health and logs."""
