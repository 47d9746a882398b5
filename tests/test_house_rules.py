"""What CONTRIBUTING.md asks of the code and no linter looks at."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_LINES = 400


def test_a_file_can_be_read_at_one_sitting() -> None:
    """It has fewer than 400 lines: a longer one does more than one thing."""
    files = [
        file
        for folder in ("clients", "consumer", "producers", "schemas", "benchmarks", "tests")
        for file in sorted((ROOT / folder).rglob("*.py"))
    ]
    lengths = {str(file.relative_to(ROOT)): len(file.read_text("utf-8").splitlines()) for file in files}
    assert "tests/test_house_rules.py" in lengths
    assert {name: n for name, n in lengths.items() if n >= MAX_LINES} == {}
