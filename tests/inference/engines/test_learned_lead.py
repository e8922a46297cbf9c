"""The lead that is learned from late mouths."""

from collections.abc import Callable

from inference.engines.learned_lead import (
    LEAST_PATIENCE_S,
    MOST_S,
    STEP_S,
    LearnedLead,
)

SESSIONS = 8


class Machine:
    """Eight sessions whose mouths take ``waits_s`` more than was reckoned, by session."""

    def __init__(self, waits_s: Callable[[int], float]) -> None:
        self.lead = LearnedLead()
        self.waits_s = waits_s
        self.frame = 0
        self.late = 0

    def run(self, seconds: float) -> float:
        """Return the largest extra of the time."""
        most_s, self.late = 0.0, 0
        for _ in range(round(seconds * 25)):
            for session in range(SESSIONS):
                is_late = self.waits_s(session) > self.lead.extra_s
                self.late += is_late
                now_s = 100 + 0.04 * (self.frame + session / SESSIONS)
                self.lead.mouth_ended(is_late=is_late, now_s=now_s)
            self.frame += 1
            most_s = max(most_s, self.lead.extra_s)
        return most_s


def test_nothing_is_added_where_all_are_in_time() -> None:
    machine = Machine(lambda session: 0.0)
    assert machine.run(60) == 0.0


def test_one_unlucky_session_of_eight_is_helped() -> None:
    machine = Machine(lambda session: 0.02 if session == 3 else 0.0)
    machine.run(3)
    assert machine.lead.extra_s >= 0.02
    machine.run(LEAST_PATIENCE_S - 3)
    assert machine.late == 0


def test_one_late_mouth_in_a_thousand_adds_nothing() -> None:
    machine = Machine(lambda session: 0.0)
    for number in range(10_000):
        machine.lead.mouth_ended(is_late=number % 1_000 == 0, now_s=number * 0.001)
    assert machine.lead.extra_s == 0.0


def test_it_ends_where_no_lead_helps() -> None:
    machine = Machine(lambda session: 1.0)
    assert machine.run(60) == MOST_S


def test_what_was_added_is_taken_back_when_the_cause_is_gone() -> None:
    machine = Machine(lambda session: 0.03)
    assert machine.run(5) >= 0.03
    machine.waits_s = lambda session: 0.0
    machine.run(10 * LEAST_PATIENCE_S)
    assert machine.lead.extra_s == 0.0


def test_it_is_tried_less_and_less_often_whether_less_would_do() -> None:
    machine = Machine(lambda session: 2.5 * STEP_S)
    machine.run(60)
    first = machine.late
    machine.run(600)
    assert machine.late / 10 < first / 2
    assert machine.lead.extra_s in (2 * STEP_S, 3 * STEP_S)


def test_few_mouths_say_nothing() -> None:
    lead = LearnedLead()
    for second in range(60):
        lead.mouth_ended(is_late=True, now_s=float(second))
    assert lead.extra_s == 0.0
