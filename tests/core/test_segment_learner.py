"""Thresholds of segments: the shop's own, learned slowly, the same for the same log."""

from math import log1p
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.customer.customer import Customer, Orders
from consumer.core.customer.quantiles import Histogram, add_value
from consumer.core.customer.segment_learner import (
    MAX_STEP,
    MIN_SAMPLES,
    SAMPLE_FIELDS,
    SegmentLearner,
    SegmentState,
    derive,
    sample_of,
)
from consumer.core.customer.segments import DEFAULT_THRESHOLDS, Thresholds
from consumer.core.customer.tastes import UNKNOWN_BANDS
from consumer.core.knowledge.knowledge import Knowledge
from consumer.core.knowledge.learner import new_learner, restore_learner
from consumer.default_catalogue import default_catalogue
from schemas.records import TrainingExample
from schemas.units import DAY_MS, WEEK_MS
from tests.core.streams import SETTINGS, T0, Stream, new_task

NOW_MS = 2_900 * WEEK_MS


def a_sample(at_ms: int = NOW_MS, **values: float) -> TrainingExample:
    """Return a sample with the fields of `values`, all others unknown."""
    template = sample_of(Customer("ann", orders=Orders(n=1)), at_ms, DEFAULT_THRESHOLDS)
    assert template is not None
    features = tuple(values.get(name, 0.0) for name in SAMPLE_FIELDS)
    return TrainingExample(**{f: getattr(template, f) for f in template.__struct_fields__} | {"features": features})


def learned(weeks: int, samples: list[dict[str, float]], state: SegmentState | None = None) -> SegmentState:
    """Return what a learner knows after so many whole weeks, each with all of `samples`."""
    learner = SegmentLearner(state)
    first = 0 if state is None else state.week - NOW_MS // WEEK_MS
    for week in range(first, first + weeks):
        for values in samples:
            learner.learn(a_sample(NOW_MS + week * WEEK_MS, **values))
    learner.learn(a_sample(NOW_MS + (first + weeks) * WEEK_MS))
    return learner.state()


def spread(name: str, *values: float, n: int = MIN_SAMPLES) -> list[dict[str, float]]:
    """Return `n` samples in which `name` takes `values` in turn."""
    return [{"orders": 3.0, "spend": 10.0, name: values[i % len(values)]} for i in range(n)]


def test_thresholds_move_to_the_shops_own_quantiles() -> None:
    """In a shop of weekly buyers the typical gap ends up at a week, whatever the default."""
    state = learned(20, spread("usual_gap_days", 5.0, 7.0, 7.0, 9.0))
    assert state.thresholds.typical_gap_days == pytest.approx(7.0, rel=0.05)
    assert state.thresholds.new_days == pytest.approx(7.0, rel=0.05)
    assert state.thresholds.won_back_days == 14.0  # bounded
    assert state.thresholds.at_risk_probability == DEFAULT_THRESHOLDS.at_risk_probability


def test_the_stages_of_being_late_come_from_how_late_orders_came() -> None:
    """Two of three, four of five and nine of ten orders came sooner than slipping, at risk and lost begin."""
    late = [1.0 + step / 10 for step in range(30)]  # 1.0 to 3.9
    found = learned(20, spread("lateness", *late)).thresholds
    assert found.slipping_gaps == pytest.approx(2.9, rel=0.05)
    assert found.at_risk_gaps == pytest.approx(found.slipping_gaps * 1.25)  # its own quantile is too near
    assert found.lost_gaps == pytest.approx(found.slipping_gaps * 1.25**2)


def test_customers_who_never_bought_have_stages_of_their_own() -> None:
    """Their idle days come from returns without an order."""
    absences = [{"absence_days": float(days)} for days in (2, 4, 20, 40)] * MIN_SAMPLES
    found = learned(20, absences).thresholds
    assert found.slipping_idle_days == pytest.approx(20.0, rel=0.1)
    assert found.lost_idle_days == pytest.approx(40.0, rel=0.1)
    assert found.slipping_gaps == DEFAULT_THRESHOLDS.slipping_gaps


def test_loyal_orders_and_big_spend_are_the_shops_own() -> None:
    """The best quarter of those who came back is loyal; the spend takes its quantile at once."""
    state = learned(1, [{"orders": 2.0 + i % 12, "spend": 100.0 * (1 + i % 20)} for i in range(MIN_SAMPLES)])
    assert state.thresholds.big_spend == pytest.approx(1_900.0, rel=0.05)
    assert state.thresholds.loyal_orders == DEFAULT_THRESHOLDS.loyal_orders + 1
    later = learned(10, [{"orders": 2.0 + i % 12, "spend": 10.0} for i in range(MIN_SAMPLES)], state)
    assert later.thresholds.loyal_orders == pytest.approx(11, abs=1)


def test_few_samples_change_nothing() -> None:
    """A small shop keeps the defaults rather than the chance of a few customers."""
    few = [{"orders": 3.0, "spend": 9e9, "usual_gap_days": 3.0, "lateness": 9.0}]
    assert learned(8, few).thresholds == DEFAULT_THRESHOLDS
    assert learned(8, few).price_bands == UNKNOWN_BANDS


def test_price_bands_part_the_customers_in_thirds() -> None:
    """A third of the customers sampled is below the middle band, a third above."""
    bands = learned(1, spread("price", *[float(price) for price in range(10, 100)], n=900)).price_bands
    assert bands.mid_from == pytest.approx(40.0, rel=0.05)
    assert bands.high_from == pytest.approx(70.0, rel=0.05)


numbers = st.floats(0, 1e12)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(SAMPLE_FIELDS, st.lists(numbers, min_size=1))), min_size=4))
def test_a_week_moves_a_threshold_by_a_bounded_step_and_keeps_their_order(weeks: list[dict[str, list[float]]]) -> None:
    """Whatever is sampled, nothing but the spend jumps, and slipping comes before at risk before lost."""
    before = DEFAULT_THRESHOLDS
    for values in weeks:
        histograms: dict[str, Histogram] = {name: {} for name in SAMPLE_FIELDS}
        for name, several in values.items():
            for value in several:
                add_value(histograms[name], value)
        after = derive(before, {n: {b: MIN_SAMPLES * k for b, k in h.items()} for n, h in histograms.items()})
        for name in Thresholds.__struct_fields__:
            if name not in {"big_spend", "loyal_orders"}:
                ratio = getattr(after, name) / getattr(before, name)
                assert 1 / (1 + MAX_STEP) - 1e-9 <= ratio <= 1 + MAX_STEP + 1e-9, name
        assert abs(after.loyal_orders - before.loyal_orders) <= 1
        assert after.slipping_gaps < after.at_risk_gaps < after.lost_gaps
        assert after.slipping_idle_days < after.lost_idle_days
        assert after.loyal_orders >= 3
        before = after


def test_a_learner_that_was_saved_goes_on_to_the_same_state() -> None:
    """A trainer that restarts in the middle of a week derives what it would have derived anyway."""
    samples = [
        a_sample(NOW_MS + day * DAY_MS, orders=2.0 + i % 9, spend=10.0 * i, usual_gap_days=1.0 + i, price=5.0 + i)
        for day in range(120)
        for i in range(5)
    ]
    whole = new_learner("churn", SETTINGS, default_catalogue())
    for offset, sample in enumerate(samples):
        whole.fold(offset, sample)
    for cut in (1, 200, 333):
        part = new_learner("churn", SETTINGS, default_catalogue())
        for offset, sample in enumerate(samples[:cut]):
            part.fold(offset, sample)
        part = restore_learner(part.snapshot(), SETTINGS, default_catalogue())
        for offset, sample in enumerate(samples[cut:], cut):
            part.fold(offset, sample)
        assert part.snapshot() == whole.snapshot()
    knowledge = Knowledge(SETTINGS, default_catalogue())
    assert knowledge.thresholds == DEFAULT_THRESHOLDS
    knowledge.adopt(whole.snapshot())
    assert knowledge.thresholds != DEFAULT_THRESHOLDS
    assert knowledge.price_bands != UNKNOWN_BANDS


def test_examples_of_other_heads_and_fields_are_no_samples() -> None:
    """What the churn heads learn from does not move the segments."""
    learner, sample = SegmentLearner(), a_sample(orders=5.0, spend=50.0)
    untouched = learner.state()
    values: dict[str, Any] = {f: getattr(sample, f) for f in sample.__struct_fields__}
    learner.learn(TrainingExample(**values | {"head": "hazard"}))
    learner.learn(TrainingExample(**values | {"feature_set": "another"}))
    assert learner.state() == untouched


# Sampling


def test_a_tick_samples_how_late_the_order_before_it_was() -> None:
    """An order after twice the usual days counts as 2, against the rhythm without it; it is told once."""
    customer = Customer("ann", orders=Orders(n=3, first_ms=NOW_MS - 300 * DAY_MS, spend=70.0, longest_gap_days=62))
    customer.orders.gap_log_mean = (log1p(31) + log1p(62)) / 2
    thresholds = Thresholds(typical_gap_days=31.0)
    sample = sample_of(customer, NOW_MS, thresholds)
    assert sample is not None
    told = dict(zip(SAMPLE_FIELDS, sample.features, strict=True))
    assert told == pytest.approx({"orders": 3, "spend": 70, "usual_gap_days": 43.9, "lateness": 2, "absence_days": 0, "price": 0}, abs=0.1)  # fmt: skip  # noqa: E501  # one table
    again = sample_of(customer, NOW_MS, thresholds)
    assert again is not None
    assert again.features[SAMPLE_FIELDS.index("lateness")] == 0.0


def test_of_a_rhythm_only_those_tell_who_have_bought_for_long() -> None:
    """In a stream's first months only short gaps can have been seen: they would make everybody late."""
    customer = Customer("ann", orders=Orders(n=3, first_ms=NOW_MS - 30 * DAY_MS, longest_gap_days=20))
    customer.orders.gap_log_mean = log1p(15)
    sample = sample_of(customer, NOW_MS, DEFAULT_THRESHOLDS)
    assert sample is not None
    assert sample.features[2:4] == (0.0, 0.0)


def test_who_never_bought_tells_of_returns_alone() -> None:
    """Without an order there is a sample only of a return, and of how long it took once the visitor is known."""
    visitor = Customer("bob", first_seen_ms=NOW_MS - 100 * DAY_MS, longest_absence_days=20)
    sample = sample_of(visitor, NOW_MS, DEFAULT_THRESHOLDS)
    assert sample is not None
    assert sample.features == (0.0, 0.0, 0.0, 0.0, 20.0, 0.0)
    assert sample_of(visitor, NOW_MS, DEFAULT_THRESHOLDS) is None
    newcomer = Customer("cid", first_seen_ms=NOW_MS - 21 * DAY_MS, longest_absence_days=20)
    sample = sample_of(newcomer, NOW_MS, DEFAULT_THRESHOLDS)
    assert sample is not None
    assert sample.features[SAMPLE_FIELDS.index("absence_days")] == 0.0


def test_a_stream_is_sampled_at_ticks_without_saying_whose_it_is() -> None:
    """Ticks put samples among the examples; a frozen task puts none."""
    for mode in ("live", "frozen"):
        task = new_task(mode=mode)
        stream = Stream(task)
        stream.order("ann", T0, price=25.0)
        stream.order("ann", T0 + 3 * DAY_MS, price=25.0)
        task.advance_to(T0 + 4 * DAY_MS)
        samples = [e for e in task.take_outputs().examples if e.head == "segment"]
        assert bool(samples) == (mode == "live")
        for sample in samples:
            assert "ann" not in repr(sample)
    assert SAMPLE_FIELDS[:2] == ("orders", "spend")
