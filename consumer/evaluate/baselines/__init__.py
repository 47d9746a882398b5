"""Other models of churn, on the same rows as ours and judged by the same figures, so that a figure means something."""
