"""Which action on which channel, or none, and why."""
