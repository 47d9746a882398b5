"""What runs here: the fingerprint that each journal record carries, since another build may compute other numbers."""

import platform
import sys
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable

# Whatever computes or encodes a number that ends up in a decision.
_PACKAGES = ("consumer.core", "consumer.inputs", "schemas")
_LIBRARIES = ("river", "numpy", "msgspec", "orjson", "fastavro", "jmespath", "tzdata")


def product_version() -> str:
    """Return the version of the installed package."""
    return version("nextbest")


@cache
def build_fingerprint() -> str:
    """Return version, code digest and platform as one line, the same wherever the same numbers are to be expected.

    The digest is over the sources of the core, the mappings and the schemas, and the versions of the libraries that
    compute with them.
    """
    digest = blake2b(digest_size=8)
    for package in _PACKAGES:
        for name, content in sorted(_sources(files(package), package)):
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    for library in _LIBRARIES:
        digest.update(f"{library}=={version(library)}\0".encode())
    python = f"{platform.python_implementation()}{sys.version_info.major}.{sys.version_info.minor}"
    libc = "".join(platform.libc_ver())
    where = "-".join(part for part in (platform.system(), platform.machine(), libc) if part)
    return f"nextbest-{product_version()}+{digest.hexdigest()} {python} {where}"


def _sources(folder: Traversable, name: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in folder.iterdir():
        inner = f"{name}/{entry.name}"
        if entry.is_dir() and entry.name not in {"__pycache__", "examples", "like"}:
            found += _sources(entry, inner)
        elif entry.name.endswith((".py", ".toml", ".avsc")):
            found.append((inner, entry.read_bytes()))
    return found
