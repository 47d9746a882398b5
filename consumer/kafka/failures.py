"""How a worker comes to an end, or to a halt: what is raised on any floor of the Kafka shell."""


class CannotGoOn(Exception):
    """This process can do no more; the message says why and what to do. Nothing uncommitted was published."""


class Stopping(Exception):
    """The process was asked to stop while it was reading."""


class RegistryUnavailable(Exception):
    """The registry did not answer. Not the record's fault: the caller tries again or stops, and rejects nothing."""
