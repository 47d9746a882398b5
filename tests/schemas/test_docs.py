"""docs/schemas.md says what is so."""

import re
from pathlib import Path
from typing import get_args

import pytest

from schemas.avro_schemas import STRUCTS
from schemas.codec import Decoder
from schemas.errors import RejectionReason

PAGE = (Path(__file__).parents[2] / "docs" / "schemas.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("topic", STRUCTS)
def test_the_example_of_each_topic_decodes(topic: str) -> None:
    """Whoever copies an example from the page has a valid record."""
    section = PAGE.split(f"\n## {topic}\n")[1].split("\n## ")[0]
    (example,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    assert type(Decoder().decode(topic, example.encode())) is STRUCTS[topic]


def test_every_reason_is_listed_in_its_order() -> None:
    """The table of reasons is complete."""
    section = PAGE.split("\n## What a rejected record says\n")[1].split("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == get_args(RejectionReason)
