"""The cluster: clients and their settings, topics, checks, the schema registry, reading a log to its end."""
