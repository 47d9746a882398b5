"""How a backtest learns: from which share of what happened."""

LEARNED_FROM = 50_000  # of fewer positions or baskets, all; of more, so many or the share that is configured


def learned_share(n: int, configured: float) -> float:
    """Return the share of `n` positions or baskets that are learned from, not below what a worker is configured to."""
    return max(configured, min(1.0, LEARNED_FROM / max(1, n)))
