"""What is raised for a schema registry that is silent; apart from its client, which takes half a second to import."""


class RegistryUnavailable(Exception):
    """The registry did not answer. Not the record's fault: the caller tries again or stops, and rejects nothing."""
