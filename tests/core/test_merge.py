"""The event-time merge of the co-partitioned topics."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.core.intake import Rejection
from consumer.core.merge import EventTimeMerge, MergeRecord
from schemas.events import ClickEvent
from schemas.topics import EVENT_TOPICS


def record(topic: str, offset: int, occurred_at: int | None) -> MergeRecord:
    event: ClickEvent | Rejection = (
        ClickEvent(event_id=f"{topic}{offset}", customer_id="ann", occurred_at=occurred_at, kind="login")
        if occurred_at is not None
        else Rejection("malformed_json", None, "")
    )
    return MergeRecord(topic=topic, offset=offset, timestamp_ms=0, key=b"ann", value=b"", event=event)


def drain(merge: EventTimeMerge) -> list[tuple[str, int]]:
    taken = []
    while (popped := merge.pop()) is not None:
        taken.append((popped.topic, popped.offset))
    return taken


def test_an_empty_topic_holds_the_merge_back_until_it_is_caught_up() -> None:
    """A topic that might still deliver something older is waited for."""
    merge = EventTimeMerge()
    merge.push(record("clickstream", 0, 5))
    merge.end_reached("privacy")
    assert merge.pop() is None
    merge.end_reached("purchases")
    assert drain(merge) == [("clickstream", 0)]


def test_at_the_same_moment_consent_comes_before_behaviour() -> None:
    """Ties are broken by topic: privacy, purchases, clickstream."""
    merge = EventTimeMerge()
    for topic in reversed(EVENT_TOPICS):
        merge.push(record(topic, 0, 5))
        merge.end_reached(topic)
    assert drain(merge) == [("privacy", 0), ("purchases", 0), ("clickstream", 0)]


def test_a_rejected_record_keeps_its_place_and_moves_no_time() -> None:
    """It goes right after the record before it in its topic."""
    merge = EventTimeMerge()
    merge.push(record("clickstream", 0, 1))
    merge.push(record("clickstream", 1, None))
    merge.push(record("clickstream", 2, 9))
    merge.push(record("purchases", 0, 4))
    for topic in EVENT_TOPICS:
        merge.end_reached(topic)
    assert drain(merge) == [("clickstream", 0), ("clickstream", 1), ("purchases", 0), ("clickstream", 2)]


times = st.lists(st.one_of(st.none(), st.integers(0, 50)), max_size=15)


@given(times, times, times, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_how_batches_arrive(
    privacy: list[int | None], purchases: list[int | None], clicks: list[int | None], chance: object
) -> None:
    """Any interleaving of the fetches, with merges tried in between, gives the order of one big fetch."""
    records = [
        [record(topic, offset, at) for offset, at in enumerate(column)]
        for topic, column in zip(EVENT_TOPICS, (privacy, purchases, clicks), strict=True)
    ]
    whole = EventTimeMerge()
    for column in records:
        for item in column:
            whole.push(item)
    for topic in EVENT_TOPICS:
        whole.end_reached(topic)
    expected = drain(whole)

    pieces, taken = EventTimeMerge(), []
    waiting = {topic: list(column) for topic, column in zip(EVENT_TOPICS, records, strict=True)}
    while any(waiting.values()):
        topic = chance.choice([name for name, column in waiting.items() if column])  # type: ignore[attr-defined]
        pieces.push(waiting[topic].pop(0))
        for name in EVENT_TOPICS:
            if not waiting[name]:
                pieces.end_reached(name)
        taken += drain(pieces)
    for name in EVENT_TOPICS:
        pieces.end_reached(name)
    assert taken + drain(pieces) == expected
    assert [o for t, o in expected if t == "clickstream"] == list(range(len(clicks)))
