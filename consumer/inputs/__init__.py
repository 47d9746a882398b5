"""Inputs: a shop's own records become canonical events, as the configuration says; pure, compiled once."""
