"""What is remembered of a customer, and how events change it."""
