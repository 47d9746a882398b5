"""The core is pure: what neither the contracts of imports nor the linter's list of banned calls can see."""

import ast
import tomllib
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted(Path(str(files("consumer.core"))).rglob("*.py"))
# They read or write, run what nobody has read, or differ from run to run.
WRITES = {"tofile", "dump", "write", "write_bytes", "write_text"}
IMPURE = {"open", "input", "print", "breakpoint", "eval", "exec", "compile", "__import__", "hash", "id"}


def test_no_builtin_that_reads_writes_or_differs_from_run_to_run_is_used() -> None:
    """None of them is named anywhere in the core, called or handed on."""
    found = [
        f"{file.name}:{node.lineno} {node.id}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in IMPURE
    ]
    assert len(FILES) > 50
    assert found == []


def test_no_method_that_writes_a_file_is_called() -> None:
    """Of arrays, say: the linter knows functions of modules, not methods."""
    found = [
        f"{file.name}:{node.lineno} {node.attr}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in WRITES
    ]
    assert found == []


def test_the_contract_forbids_the_core_every_other_part_of_the_consumer() -> None:
    """Also those that came after it was written."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    forbidden = next(each["forbidden_modules"] for each in contracts if each["id"] == "core-knows-nobody")
    parts = {f"consumer.{path.stem}" for path in (ROOT / "consumer").iterdir() if is_module(path)}
    assert len(parts) > 10
    assert parts - {"consumer.core"} <= set(forbidden)


def is_module(path: Path) -> bool:
    return (path / "__init__.py").is_file() or (path.suffix == ".py" and path.stem != "__init__")
