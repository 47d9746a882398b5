"""The simulated population: repeatable, valid, and true to what it says of itself."""

from collections import Counter, defaultdict
from itertools import pairwise

import msgspec
import pytest

from producers.rows import Row
from producers.simulate import MALFORMED_KINDS, Population, PopulationSettings, purchase_probability
from schemas.events import ClickEvent, PrivacyEvent, Product, PurchaseEvent
from schemas.records import Coordinates, NextBestAction, Recommendation
from schemas.units import DAY_MS, HOUR_MS

STRUCTS: dict[str, type[msgspec.Struct]] = {
    "clickstream": ClickEvent,
    "purchases": PurchaseEvent,
    "privacy": PrivacyEvent,
    "products": Product,
}
QUIET = PopulationSettings(late_share=0, duplicate_share=0, malformed_share=0)


def _run(population: Population, days: float) -> list[Row]:
    return list(population.events_until(population.start_ms + int(days * DAY_MS)))


def _decision(customer_id: str, at_ms: int, number: int = 0, **changes: object) -> NextBestAction:
    fields: dict[str, object] = {
        "decision_id": f"d-{customer_id}-{number}",
        "customer_id": customer_id,
        "occurred_at": at_ms,
        "trigger": "session_end",
        "action": "win_back_offer",
        "channel": "email",
        "variant": None,
        "content": (),
        "deliver_after": None,
        "deliver_before": None,
        "time_zone": "UTC",
        "propensity": 1.0,
        "eligible": (),
        "churn_probability": None,
        "churn_signal": "purchase",
        "segment": "new",
        "hold_out": False,
        "reasons": (),
        "model_versions": {},
        "origin": Coordinates("clickstream", 0, 0),
        "mode": "live",
    }
    return msgspec.convert(fields | changes, NextBestAction)


def test_the_same_seed_gives_the_same_bytes_however_it_is_asked() -> None:
    """Taking a week in one piece or hour by hour gives the same records in the same order."""
    whole = _run(Population(3, 60), 7)
    stepwise = Population(3, 60)
    pieces = [row for hour in range(1, 7 * 24 + 1) for row in stepwise.events_until(stepwise.start_ms + hour * HOUR_MS)]
    assert len(whole) > 300
    assert whole == pieces
    assert list(Population(3, 60).products()) == list(stepwise.products())


def test_another_seed_gives_another_population() -> None:
    """The seed reaches the customers and the shop."""
    assert _run(Population(3, 60), 3) != _run(Population(4, 60), 3)
    assert list(Population(3, 1).products()) != list(Population(4, 1).products())


def test_the_same_reactions_give_the_same_bytes() -> None:
    """Decisions are the only input, and responding to them is deterministic."""

    def lived() -> list[Row]:
        population = Population(3, 60)
        rows = _run(population, 5)
        for customer_id in population.customer_ids():
            population.react(_decision(customer_id, population.now_ms))
        return rows + _run(population, 10)

    assert lived() == lived()


def test_records_arrive_in_order_and_are_valid() -> None:
    """Arrival times never go back, every record that isn't broken on purpose is valid, and keys are customers."""
    population = Population(5, 150)
    rows = [*population.products(), *_run(population, 40)]
    assert all(earlier.arrival_ms <= later.arrival_ms for earlier, later in pairwise(rows))
    kinds = set()
    for row in rows:
        if row.kind.startswith("malformed"):
            continue
        assert row.value is not None
        event = msgspec.json.decode(row.value, type=STRUCTS[row.topic])
        if not isinstance(event, Product):
            assert row.key == event.customer_id.encode()  # type: ignore[attr-defined]
            assert row.occurred_at == event.occurred_at <= row.arrival_ms  # type: ignore[attr-defined]
        kinds.add(row.kind)
    assert kinds >= {"order", "item_view", "search", "cart_add", "cart_remove", "error", "consent", "refund", "product"}


def test_late_duplicate_and_malformed_shares_are_as_chosen() -> None:
    """The shares hold within sampling error, every kind of damage occurs, and a duplicate is the same bytes."""
    settings = PopulationSettings(late_share=0.05, duplicate_share=0.03, malformed_share=0.04)
    population = Population(1, 300, settings=settings)
    rows = _run(population, 30)
    sound = [row for row in rows if row.kind != "duplicate" and not row.kind.startswith("malformed")]
    malformed = Counter(row.kind for row in rows if row.kind.startswith("malformed"))
    duplicates = [row for row in rows if row.kind == "duplicate"]
    late = [row for row in sound if row.arrival_ms > row.occurred_at]
    assert len(sound) > 5_000
    assert 0.04 < len(late) / len(sound) < 0.06
    assert 0.022 < len(duplicates) / len(sound) < 0.038
    assert 0.03 < malformed.total() / len(sound) < 0.05
    assert set(malformed) == {f"malformed:{kind}" for kind in MALFORMED_KINDS}
    assert {row.value for row in duplicates} <= {row.value for row in sound}


def test_broken_records_are_broken_as_named() -> None:
    """No broken record passes as a sound event in its place."""
    settings = PopulationSettings(malformed_share=0.2)
    population = Population(1, 100, settings=settings)
    for row in _run(population, 10):
        if not row.kind.startswith("malformed"):
            continue
        if row.kind == "malformed:missing_key":
            assert row.key is None
            continue
        assert row.value is not None
        try:
            event = msgspec.json.decode(row.value, type=STRUCTS[row.topic])
        except msgspec.MsgspecError:
            continue
        assert row.kind == "malformed:year_2099"
        assert event.occurred_at > row.arrival_ms + 1_000 * DAY_MS  # type: ignore[attr-defined]


def test_event_ids_are_unique() -> None:
    """Apart from the duplicates, which have the id of their original."""
    rows = [row for row in _run(Population(2, 100), 20) if row.kind not in ("duplicate", "malformed:truncated_json")]
    ids = [msgspec.json.decode(row.value or b"")["event_id"] for row in rows if (row.value or b"")[:1] == b"{"]
    assert len(ids) == len(set(ids))


def test_who_has_left_for_good_does_nothing_more() -> None:
    """No event has an event time after the one at which its customer left, but for what was under way."""
    population = Population(8, 300, settings=PopulationSettings(leave_after_days=20, late_share=0, duplicate_share=0))
    rows = _run(population, 60)
    last_ms: dict[str, int] = {}
    for row in rows:
        if row.key is not None and row.kind != "erasure" and not row.kind.startswith("malformed"):
            last_ms[row.key.decode()] = max(row.occurred_at, last_ms.get(row.key.decode(), 0))
    left = [customer for customer in last_ms if population.truth(customer).leaves_at_ms < population.now_ms]
    assert len(left) > 100
    assert all(last_ms[customer] <= population.truth(customer).leaves_at_ms + 2 * HOUR_MS for customer in left)


def test_trouble_makes_customers_leave() -> None:
    """With errors in every visit and none of them forgiven, everybody who came left because of them."""
    settings = PopulationSettings(trouble_share=1, trouble_leave_share=1, erasure_share=0)
    population = Population(8, 50, settings=settings)
    came = {row.key.decode() for row in _run(population, 10) if row.kind == "error" and row.key is not None}
    assert len(came) > 20
    assert {population.truth(customer).leaves_because for customer in came} == {"trouble"}


def test_an_action_raises_the_probability_of_a_purchase() -> None:
    """Of two equal populations, the one whose customers get an offer buys more in the three days after it."""
    treated, untreated = Population(11, 2_000, settings=QUIET), Population(11, 2_000, settings=QUIET)
    for population in (treated, untreated):
        _run(population, 20)
    for customer_id in treated.customer_ids():
        treated.react(_decision(customer_id, treated.now_ms))
    buyers = [{row.key for row in _run(population, 23) if row.kind == "order"} for population in (treated, untreated)]
    seen = treated.counts["action_impression"]
    assert seen > 400
    # An ordinary customer who sees it buys with .28; the others more or hardly at all.
    assert 0.12 < (len(buyers[0]) - len(buyers[1])) / seen < 0.45


def test_eager_customers_respond_and_irritable_ones_are_annoyed() -> None:
    """The truth differs by temperament, so that deciding for each customer pays."""
    population = Population(12, 2_000, settings=QUIET)
    _run(population, 20)
    for number, customer_id in enumerate(population.customer_ids()):
        population.react(_decision(customer_id, population.now_ms, number))
    responses: dict[str, Counter[str]] = defaultdict(Counter)
    for row in _run(population, 21):
        if row.kind.startswith("action_") and row.key is not None:
            responses[population.truth(row.key.decode()).temperament][row.kind] += 1
    eager, irritable = responses["eager"], responses["irritable"]
    assert eager["action_click"] / eager["action_impression"] > 0.5
    assert irritable["action_click"] / irritable["action_impression"] < 0.2
    assert irritable["action_dismissal"] / irritable["action_impression"] > 0.3


def test_what_an_action_led_to_names_the_decision() -> None:
    """Impressions, clicks, views and orders that follow from a decision carry its id."""
    population = Population(12, 500, settings=QUIET)
    _run(population, 20)
    content = (Recommendation("i00001", 1.0, "next"),)
    for customer_id in population.customer_ids():
        population.react(_decision(customer_id, population.now_ms, content=content))
    rows = _run(population, 21)
    caused = Counter(row.kind for row in rows if b'"decision_id":"d-' in (row.value or b""))
    assert set(caused) >= {"action_impression", "action_click", "item_view", "order"}
    assert caused["order"] < caused["action_click"] < caused["action_impression"]


def test_a_decision_is_reacted_to_once_and_nothing_never() -> None:
    """Decisions read twice, *nothing*, unknown customers and expired ones lead to nothing."""
    population = Population(12, 10, settings=QUIET)
    _run(population, 5)
    now_ms = population.now_ms
    assert population.react(_decision("c0000001", now_ms))
    assert not population.react(_decision("c0000001", now_ms))
    assert not population.react(_decision("c0000002", now_ms, action="nothing", channel=None))
    assert not population.react(_decision("somebody", now_ms))
    assert not population.react(_decision("c0000003", now_ms - 9 * DAY_MS, deliver_before=now_ms - 2 * DAY_MS))


def test_a_decision_waits_until_it_may_be_delivered() -> None:
    """No impression comes before `deliver_after`."""
    population = Population(12, 300, settings=QUIET)
    _run(population, 5)
    after_ms = population.now_ms + DAY_MS
    for customer_id in population.customer_ids():
        population.react(_decision(customer_id, population.now_ms, deliver_after=after_ms))
    impressions = [row for row in _run(population, 8) if row.kind == "action_impression"]
    assert impressions
    assert min(row.occurred_at for row in impressions) >= after_ms


def test_what_is_done_to_one_customer_changes_no_other() -> None:
    """Chance belongs to each customer, so that two runs can be compared customer by customer."""
    plain, touched = Population(13, 100, settings=QUIET), Population(13, 100, settings=QUIET)
    for population in (plain, touched):
        _run(population, 5)
    for number in range(20):
        touched.react(_decision("c0000042", touched.now_ms, number))
    others = [[row.value for row in _run(population, 15) if row.key != b"c0000042"] for population in (plain, touched)]
    assert others[0] == others[1]


def test_what_comes_next_depends_on_what_came_before() -> None:
    """Counting which item follows which predicts the next view far better than what is popular."""
    population = Population(14, 800, settings=QUIET)
    popular: Counter[str] = Counter()
    follows: dict[str, Counter[str]] = defaultdict(Counter)
    last: dict[str, str] = {}
    hits: Counter[str] = Counter()
    for row in _run(population, 60):
        if row.kind != "item_view":
            continue
        event = msgspec.json.decode(row.value or b"", type=ClickEvent)
        session, item = event.session_id or "", event.item_id or ""
        if row.occurred_at > population.start_ms + 50 * DAY_MS and session in last:
            hits["asked"] += 1
            hits["popular"] += item in [each for each, _ in popular.most_common(20)]
            hits["follows"] += item in [each for each, _ in follows[last[session]].most_common(20)]
        if session in last:
            follows[last[session]][item] += 1
        popular[item] += 1
        last[session] = item
    assert hits["asked"] > 1_000
    assert hits["follows"] / hits["asked"] > 3 * hits["popular"] / hits["asked"]


def test_items_that_are_used_up_are_bought_again() -> None:
    """Consumables come back into the cart of the same customer; the others rarely do."""
    population = Population(15, 500, settings=QUIET)
    orders: dict[tuple[bytes, int], int] = defaultdict(int)
    for row in _run(population, 120):
        if row.kind == "order" and row.key is not None:
            for line in msgspec.json.decode(row.value or b"", type=PurchaseEvent).lines:
                index = population.shop.index_of(line.item_id)
                assert index is not None
                orders[row.key, index] += 1
    again: dict[bool, list[int]] = {True: [], False: []}
    for (_, index), times in orders.items():
        again[population.shop.items[index].cycle_days is not None].append(times > 1)
    assert sum(again[True]) / len(again[True]) > 0.25
    assert sum(again[False]) / len(again[False]) < 0.1


def test_the_truth_of_a_customer_is_complete() -> None:
    """Tastes are shares, channels are probabilities, and an unknown customer is an error."""
    population = Population(16, 20)
    for customer_id in population.customer_ids():
        truth = population.truth(customer_id)
        assert sum(truth.tastes.values()) == pytest.approx(1)
        assert all(0 <= share <= 1 for share in truth.opens.values())
        assert truth.leaves_at_ms > truth.joined_at_ms >= population.start_ms
    with pytest.raises(KeyError):
        population.truth("c9999999")


@pytest.mark.parametrize("action", ["cart_reminder", "an_action_of_your_own"])
def test_the_better_the_items_fit_the_more_an_action_does(action: str) -> None:
    """Relevance raises the uplift, for actions that the truth knows by name and for others."""
    uplifts = [purchase_probability("ordinary", action, relevance) for relevance in (0.0, 0.5, 1.0)]
    assert 0 < uplifts[0] < uplifts[1] < uplifts[2] < 1


@pytest.mark.parametrize(
    "wrong", [{"late_share": 1.5}, {"visit_gap_days": 0.0}, {"items": 3, "categories": 4}, {"malformed_share": -0.1}]
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    """With the name of what is wrong, or of what it needs."""
    with pytest.raises(ValueError, match=r"share|days|item"):
        PopulationSettings(**wrong)  # type: ignore[arg-type]
