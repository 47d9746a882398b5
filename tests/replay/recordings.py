"""Small made-up recordings, and replays of them."""

from dataclasses import replace
from pathlib import Path

import orjson

from consumer.core.catalogue import Catalogue
from consumer.core.settings import CoreSettings, LearnerSettings
from consumer.core.shared import Core
from consumer.default_catalogue import default_catalogue
from consumer.replay.directory import DirectoryEvidence
from consumer.replay.files import Source
from consumer.replay.options import ReplayOptions, settings_for_recording, time_span_ms
from consumer.replay.replay import Stream, replay
from consumer.replay.summary import Summary
from consumer.replay.verify import Verdict, verify
from consumer.store.memory import MemoryState
from consumer.zones import load_zone
from producers.readers import UnreadableFile, read_rows
from schemas.codec import Decoder
from schemas.units import DAY_MS, MINUTE_MS

BUILD = "the build of the tests"
T0 = 20_000 * DAY_MS
CUSTOMERS = 30
DAYS = 6


def shop_events() -> list[dict[str, object]]:
    """A small shop: customers come on some days, look at four items in a row, and sometimes buy the last."""
    events: list[dict[str, object]] = []
    for day in range(DAYS):
        for customer in range(CUSTOMERS):
            if (customer * 7 + day * 3) % 4 == 0 or (day > 2 and customer % 5 == 0):
                continue
            start_ms = T0 + day * DAY_MS + customer * 20 * MINUTE_MS
            for step in range(4):
                viewed = f"item-{(customer + day + step) % 10}"
                events.append(click(f"c{customer}", start_ms + step * MINUTE_MS, "item_view", viewed))
            item = f"item-{(customer + day + 3) % 10}"
            if (customer + day) % 3 == 0:
                events.append(click(f"c{customer}", start_ms + 5 * MINUTE_MS, "cart_add", item))
            if (customer + day) % 6 == 0:
                events.append(order(f"c{customer}", start_ms + 6 * MINUTE_MS, item))
    events.sort(key=lambda event: (event["occurred_at"], str(event["event_id"])))
    return events


def click(customer: str, at_ms: int, kind: str, item: str) -> dict[str, object]:
    return {
        "event_id": f"{customer}-{at_ms}-{kind}",
        "customer_id": customer,
        "occurred_at": at_ms,
        "kind": kind,
        "item_id": item,
        "category": f"category-{int(item[-1]) % 3}",
    }


def order(customer: str, at_ms: int, item: str) -> dict[str, object]:
    return {
        "event_id": f"{customer}-{at_ms}-order",
        "customer_id": customer,
        "occurred_at": at_ms,
        "kind": "order",
        "order_id": f"{customer}-{at_ms}",
        "lines": [{"item_id": item, "quantity": 1, "unit_price": 10.0}],
    }


def lines_of(events: list[dict[str, object]]) -> list[bytes]:
    return [orjson.dumps(event) for event in events]


def write_recording(path: Path, lines: list[bytes] | None = None) -> Path:
    """Write a recording of JSON lines; the small shop where no lines are given."""
    path.write_bytes(b"".join(line + b"\n" for line in (lines_of(shop_events()) if lines is None else lines)))
    return path


def small_settings(recording: Path, format_name: str = "jsonl") -> CoreSettings:
    """Settings that learn from a small recording: a snapshot after every 20 examples."""
    span = time_span_ms(read_rows(recording, format_name))
    settings = replace(CoreSettings(), learner=LearnerSettings(snapshot_examples=20))
    return settings_for_recording(settings, *(span or (0, 0)))


def run_replay(
    recording: Path,
    out: Path,
    *,
    options: ReplayOptions | None = None,
    settings: CoreSettings | None = None,
    format_name: str = "jsonl",
    decoder: Decoder | None = None,
) -> Summary:
    return replay(
        stream_of(recording, format_name, decoder),
        out,
        core_of(settings or small_settings(recording, format_name)),
        MemoryState,
        options=options or ReplayOptions(commit_records=50),
    )


def stream_of(recording: Path, format_name: str = "jsonl", decoder: Decoder | None = None) -> Stream:
    rows, source = read_rows(recording, format_name), Source.of(recording, format_name)
    return Stream(rows, source, decoder=decoder, unreadable=(UnreadableFile,))


def core_of(settings: CoreSettings, catalogue: Catalogue | None = None, build: str = BUILD) -> Core:
    return Core.new(settings, catalogue or default_catalogue(), load_zone, build=build)


def run_verify(
    out: Path, *, input_path: Path | None = None, build: str = BUILD, decoder: Decoder | None = None
) -> Verdict:
    recording = DirectoryEvidence(out, read_rows, input_path, decoder)
    return verify(recording, core_of(recording.settings, recording.catalogue, build), MemoryState)
