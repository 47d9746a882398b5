"""The nextbest consumer: reads clickstream and purchases, learns, and publishes next-best actions."""
