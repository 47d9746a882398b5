"""How good predictions were, judged before they are learned from."""
