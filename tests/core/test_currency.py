"""Money of another currency is converted, or kept apart, and never added up."""

from dataclasses import replace

import pytest

from consumer.core.currency import Exchange, kept_apart
from consumer.core.customer.customer import Customer
from consumer.core.settings import CurrencySettings
from schemas.events import OrderLine, PurchaseEvent, PurchaseKind
from tests.core.streams import SETTINGS, T0, Stream, new_task

RATES = replace(SETTINGS, currencies=CurrencySettings({"JPY": 0.01, "usd": 0.5}))


def after(*told: tuple[str, PurchaseKind, float, str | None], stream: Stream) -> Customer:
    """Return the customer after purchases of (order id, kind, amount, currency)."""
    for n, (order_id, kind, amount, currency) in enumerate(told):
        event = PurchaseEvent(f"e{n}", "ann", T0 + n, kind, order_id, amount=amount, currency=currency)
        assert stream.task.step("purchases", n, event) is None
    ann = stream.task.state.get("ann")
    assert ann is not None
    return ann


def test_money_is_converted_by_the_rates_that_are_set() -> None:
    """Codes are the same in capitals and small letters; who names none means the shop's currency."""
    stream = Stream(new_task(RATES))
    ann = after(
        ("o1", "order", 12_000.0, "jpy"),
        ("o2", "order", 10.0, "USD"),
        ("o3", "order", 7.0, None),
        ("o4", "order", 7.0, "eur"),
        ("o1", "refund", 2_000.0, "JPY"),
        stream=stream,
    )
    assert (ann.orders.n, ann.orders.spend) == (4, 100.0 + 5.0 + 7.0 + 7.0)
    assert kept_apart(stream.task.counters) == {}


def test_money_without_a_rate_is_counted_and_kept_apart() -> None:
    """The order is an order; its money is in no sum and no price. A refund in its own currency still takes it out."""
    stream = Stream(new_task())
    ann = after(("o1", "order", 12_000.0, "JPY"), ("o2", "order", 5.0, "EUR"), stream=stream)
    assert (ann.orders.n, ann.orders.spend) == (2, 5.0)
    assert kept_apart(stream.task.counters) == {"JPY": 1}
    ann = after(("o1", "order", 12_000.0, "JPY"), ("o1", "refund", 12_000.0, "JPY"), stream=Stream(new_task()))
    assert (ann.orders.n, ann.orders.spend) == (0, 0)


def test_a_refund_in_another_currency_than_its_order_takes_off_nothing() -> None:
    """Yen cannot be taken from euros without a rate; that is counted."""
    stream = Stream(new_task())
    ann = after(("o1", "order", 50.0, "EUR"), ("o1", "refund", 50.0, "JPY"), stream=stream)
    assert (ann.orders.n, ann.orders.spend) == (1, 50.0)
    assert kept_apart(stream.task.counters) == {"JPY": 1}


def test_prices_in_another_currency_tell_nothing_of_what_a_customer_pays() -> None:
    """Neither those of clicks nor those of orders; with a rate they count converted."""
    prices = []
    for settings in (SETTINGS, RATES):
        stream = Stream(new_task(settings))
        stream.click("ann", T0, price=12_000.0, currency="JPY")
        lines = (OrderLine("i2", 1, 12_000.0),)
        stream.task.step("purchases", 9, PurchaseEvent("p", "ann", T0 + 1, "order", "o", lines, currency="JPY"))
        ann = stream.task.state.get("ann")
        assert ann is not None
        prices.append((ann.tastes.n_prices > 0, ann.tastes.price_log_mean))
    euros = Stream(new_task())
    euros.click("ann", T0, price=120.0)
    ann = euros.task.state.get("ann")
    assert ann is not None
    assert prices == [(False, 0), (True, pytest.approx(ann.tastes.price_log_mean))]


def test_what_is_no_code_is_counted_as_other() -> None:
    """Whatever producers write, the names of counters stay few."""
    stream = Stream(new_task())
    after(*((f"o{n}", "order", 1.0, f"coins {n}") for n in range(5)), stream=stream)
    assert kept_apart(stream.task.counters) == {"other": 5}


def test_a_shop_without_a_currency_takes_all_money_as_it_is() -> None:
    """Where the catalogue names none there is nothing to compare with."""
    assert Exchange("", {}).rate("JPY") == 1.0


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"YEN!": 1.0}, "three letters"),
        ({"JPY": 0.0}, "more than 0"),
        ({"JPY": float("nan")}, "finite"),
        ({"JPY": 1.0, "jpy": 2.0}, "two values"),
    ],
)
def test_rates_are_checked(rates: dict[str, float], said: str) -> None:
    """A rate that cannot be meant is refused where it is set."""
    with pytest.raises(ValueError, match=said):
        CurrencySettings(rates)
