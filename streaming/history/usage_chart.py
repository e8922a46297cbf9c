"""How much the service was used, by day: for people, as a small drawing."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

SHOWN_DAYS = 30


@dataclass(frozen=True, slots=True)
class UsageBar:
    """One day, in the coordinates of a drawing 100 wide for each day and 100 high."""

    day: date
    sessions: int
    x: int
    height: float

    @property
    def y(self) -> float:
        return 100 - self.height


def use_by_day(days: Iterable[date], *, until: date) -> list[UsageBar]:
    """Return the bars of the `SHOWN_DAYS` days that end with ``until``.

    ``days`` has the day of each session.
    """
    counted = Counter(days)
    shown = [until - timedelta(days=n) for n in reversed(range(SHOWN_DAYS))]
    most = max((counted[day] for day in shown), default=0) or 1
    return [
        UsageBar(day, counted[day], 100 * number, round(100 * counted[day] / most, 1))
        for number, day in enumerate(shown)
    ]
