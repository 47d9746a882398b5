"""The mappings that come along: commented files to begin with, one for each well-known format."""

from importlib.resources import files

OWN = "own"  # of no known format


def shipped_names() -> tuple[str, ...]:
    """Return the names of the well-known formats, sorted."""
    found = (entry.name.removesuffix(".toml") for entry in files("consumer.inputs").joinpath("like").iterdir())
    return tuple(sorted(name for name in found if name != OWN))


def shipped_text(name: str) -> str:
    """Return the file of one of `shipped_names`, or of `OWN`. Raises KeyError."""
    if name not in {OWN, *shipped_names()}:
        raise KeyError(name)
    return files("consumer.inputs").joinpath("like", f"{name}.toml").read_text(encoding="utf-8")
