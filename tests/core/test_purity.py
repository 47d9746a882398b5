"""The core is pure: what neither the contracts of imports nor the linter's list of banned calls can see."""

import ast
from importlib.resources import files
from pathlib import Path

FILES = sorted(Path(str(files("consumer.core"))).rglob("*.py"))
# They read or write, run what nobody has read, or differ from run to run.
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
