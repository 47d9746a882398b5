"""What the simulated population can be told."""

from dataclasses import dataclass, fields

from schemas.units import DAY_MS


@dataclass(frozen=True, slots=True)
class PopulationSettings:
    """Shares are probabilities between 0 and 1; gaps and ages are medians over the customers, in days of event time."""

    items: int = 2_000
    categories: int = 40
    visit_gap_days: float = 4.0
    purchase_gap_days: float = 20.0
    leave_after_days: float = 150.0  # how long a customer stays if nothing goes wrong
    joined_share: float = 0.6  # customers of the shop before the start; the others join later
    join_days: float = 60.0  # over how long they join
    trouble_share: float = 0.02  # visits in which an error is shown
    payment_failed_share: float = 0.03  # orders whose first payment fails
    trouble_leave_share: float = 0.08  # troubles after which the customer leaves for good
    consent_share: float = 0.75  # customers who allow every channel; half of the others allow e-mail alone
    consent_change_share: float = 0.05
    objection_share: float = 0.01
    erasure_share: float = 0.01
    late_share: float = 0.01  # events that arrive late
    late_days: float = 2.0  # and at most how late
    duplicate_share: float = 0.01  # events that arrive twice
    malformed_share: float = 0.002  # broken records on top, for each event
    expiry_slack_ms: int = DAY_MS  # reactions this long past `deliver_before` still count: the round trip takes time

    def __post_init__(self) -> None:
        """Raise `ValueError` for a share outside of [0, 1] or a size that makes no population."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share") and not 0 <= value <= 1:
                raise ValueError(f"`{field.name}` is {value}: a share is between 0 and 1")
            if field.name.endswith("_days") and not value > 0:
                raise ValueError(f"`{field.name}` is {value}: it must be more than 0 days")
        if self.late_share + self.duplicate_share + self.malformed_share > 1:
            raise ValueError("the late, duplicate and malformed shares add up to more than 1")
        if not 1 <= self.categories <= self.items:
            raise ValueError("there must be at least one category, and an item for each")
