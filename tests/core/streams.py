"""Small made-up streams and the parts that process them, for the tests of the core."""

from consumer.core.catalogue import Catalogue
from consumer.core.customer.working_set import WorkingSet
from consumer.core.intake import Rejection
from consumer.core.settings import ChurnSettings, CoreSettings, PolicySettings, PreferenceSettings, PrivacySettings
from consumer.core.shared import Core
from consumer.core.step import ScoringTask
from consumer.default_catalogue import default_catalogue
from consumer.store.memory import MemoryState
from consumer.zones import load_zone
from schemas.events import ClickEvent, ClickKind, OrderLine, PurchaseEvent
from schemas.records import Mode
from schemas.units import DAY_MS

T0 = 20_000 * DAY_MS
SETTINGS = CoreSettings(
    churn=ChurnSettings(signal="purchase", horizon_days=10, hazard_days=2, tick_days=2),
    preference=PreferenceSettings(sample_share=1.0),
    policy=PolicySettings(hold_out_share=0.0),
    privacy=PrivacySettings(default_consent=True),
)


def new_core(settings: CoreSettings = SETTINGS, catalogue: Catalogue | None = None) -> Core:
    return Core.new(settings, catalogue or default_catalogue(), load_zone, build="test")


def new_task(
    settings: CoreSettings = SETTINGS, *, mode: Mode = "live", state: MemoryState | None = None
) -> ScoringTask:
    return ScoringTask(0, new_core(settings), WorkingSet(state if state is not None else MemoryState()), mode)


def told(probability: float | None) -> float:
    """Return a probability that a model must know."""
    assert probability is not None
    return probability


class Stream:
    """Feeds a task events with rising offsets."""

    def __init__(self, task: ScoringTask) -> None:
        self.task = task
        self.offset = 0

    def click(
        self, customer_id: str, at_ms: int, kind: ClickKind = "item_view", item_id: str | None = "i1", **more: object
    ) -> Rejection | None:
        event = ClickEvent(
            event_id=str(more.pop("event_id", f"c{self.offset}")),
            customer_id=customer_id,
            occurred_at=at_ms,
            kind=kind,
            item_id=item_id,
            **more,  # type: ignore[arg-type]  # each test passes fields of the event
        )
        self.offset += 1
        return self.task.step("clickstream", self.offset - 1, event)

    def order(self, customer_id: str, at_ms: int, *items: str, price: float = 10.0) -> Rejection | None:
        lines = tuple(OrderLine(item, 1, price) for item in items or ("i1",))
        event = PurchaseEvent(f"p{self.offset}", customer_id, at_ms, "order", f"o{self.offset}", lines)
        self.offset += 1
        return self.task.step("purchases", self.offset - 1, event)
