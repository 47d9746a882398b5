"""What an action brings: the request of a decision, and the model of outcomes that all arms share."""
