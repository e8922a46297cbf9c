from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from musetalk_site.processes.placement import SPEAKING_WEIGHT, Ownership, Placement


def ready(*loads: tuple[int, int]) -> Placement:
    """Processes with so many streams, of which so many speak."""
    placement = Placement()
    for number, (sessions, speaking) in enumerate(loads):
        placement.process_started(number)
        placement.reported(number, streams=sessions, speaking=speaking, adopted=0, is_ready=True)
    return placement


def give(placement: Placement) -> int:
    """Place a new stream, and send it there."""
    chosen = placement.place(None, asked=0)
    placement.given(chosen)
    return chosen


def test_a_burst_between_two_reports_is_spread():
    placement = ready((0, 0), (0, 0), (0, 0))
    assert Counter(give(placement) for _ in range(12)) == {0: 4, 1: 4, 2: 4}


def test_a_report_that_was_on_its_way_as_well_forgets_no_stream():
    placement = ready((0, 0), (0, 0), (0, 0))
    given = Counter()
    for _ in range(4):
        given.update(give(placement) for _ in range(3))
        for number in range(3):  # sent before the last stream arrived
            streams = given[number] - 1
            placement.reported(number, streams=streams, speaking=0, adopted=streams, is_ready=True)
    assert given == {0: 4, 1: 4, 2: 4}


def test_sessions_that_speak_count_more():
    placement = ready((1, 1), (SPEAKING_WEIGHT, 0))
    assert placement.place(None, asked=0) == 1


def test_a_stream_that_names_a_session_goes_where_that_is():
    placement = ready((50, 50), (0, 0))
    placement.own("a", "ada", 0)
    assert placement.place("a", asked=1) == 0
    assert placement.place("unknown", asked=0) == 1


def test_who_is_not_ready_is_given_nothing():
    placement = ready((9, 0))
    placement.process_started(1)
    assert placement.place(None, asked=1) == 0
    placement.reported(0, streams=9, speaking=0, adopted=0, is_ready=False)
    assert placement.place(None, asked=1) == 1, "nobody is ready: it stays where it came in"


def test_the_newer_connection_of_the_same_user_wins():
    placement = ready((0, 0), (0, 0))
    assert placement.own("a", "ada", 0) == Ownership(is_granted=True)
    assert placement.own("a", "ada", 0) == Ownership(is_granted=True), (
        "its own process settles that itself"
    )
    assert placement.own("a", "ada", 1) == Ownership(is_granted=True, older=0)
    assert placement.own("a", "bob", 0) == Ownership(is_granted=False)
    placement.release("a", 0)
    assert placement.own("a", "bob", 0) == Ownership(is_granted=False), "process 0 no longer had it"
    placement.release("a", 1)
    assert placement.own("a", "bob", 0) == Ownership(is_granted=True)


def test_a_dead_process_owns_nothing():
    placement = ready((0, 0), (0, 0))
    placement.own("a", "ada", 0)
    placement.own("b", "ada", 1)
    placement.process_ended(0)
    assert placement.place("a", asked=1) == 1
    assert placement.own("a", "bob", 1) == Ownership(is_granted=True)
    assert placement.own("b", "bob", 1) == Ownership(is_granted=False)


def test_a_holder_s_sessions_are_counted_over_all_processes():
    placement = ready((0, 0), (0, 0))
    limits = {"subject:ada": 2, "address:192.0.2.1": 3}
    assert placement.own("a", "ada", 0, limits).is_granted
    assert placement.own("b", "ada", 1, limits).is_granted
    refused = placement.own("c", "ada", 0, limits)
    assert refused == Ownership(is_granted=False, full="subject:ada")
    assert placement.own("a", "ada", 1, limits).older == 0, "it has that one already"
    placement.release("b", 1)
    assert placement.own("c", "ada", 0, limits).is_granted
    bob = {"subject:bob": 2, "address:192.0.2.1": 3}
    assert placement.own("d", "bob", 0, bob).is_granted
    assert placement.own("e", "bob", 0, bob).full == "address:192.0.2.1"
    placement.process_ended(0)
    assert placement.own("e", "bob", 1, bob).is_granted


class Processes(RuleBasedStateMachine):
    """Whatever happens, a stream goes to a process that runs, and a session has one owner."""

    def __init__(self) -> None:
        super().__init__()
        self.placement = ready((0, 0), (0, 0), (0, 0))

    @rule(number=st.integers(0, 3))
    def start(self, number: int) -> None:
        self.placement.process_started(number)

    @rule(number=st.integers(0, 3))
    def end(self, number: int) -> None:
        self.placement.process_ended(number)

    @rule(number=st.integers(0, 3), load=st.integers(0, 5), is_ready=st.booleans())
    def report(self, number: int, load: int, is_ready: bool) -> None:
        self.placement.reported(number, streams=load, speaking=0, adopted=0, is_ready=is_ready)

    @rule(session=st.sampled_from("abc"), user=st.sampled_from(["ada", "bob"]), data=st.data())
    def own(self, session: str, user: str, data: st.DataObject) -> None:
        if not self.placement.loads:
            return
        process = data.draw(st.sampled_from(sorted(self.placement.loads)))
        before = self.placement.owners.get(session)
        limits = {f"subject:{user}": 2}
        owned = self.placement.own(session, user, process, limits)
        is_own = before is None or before.user_id == user
        assert owned.is_granted == (is_own and owned.full is None)
        assert owned.older is None or owned.older == before.process != process

    @rule(session=st.none() | st.sampled_from("abc"), data=st.data())
    def place(self, session: str | None, data: st.DataObject) -> None:
        if not self.placement.loads:
            return
        asked = data.draw(st.sampled_from(sorted(self.placement.loads)))
        chosen = self.placement.place(session, asked=asked)
        load = self.placement.loads[chosen]
        is_owner = session in self.placement.owners
        assert is_owner or load.is_ready or chosen == asked

    @invariant()
    def owners_run(self) -> None:
        assert {o.process for o in self.placement.owners.values()} <= set(self.placement.loads)

    @invariant()
    def nobody_has_more_than_allowed(self) -> None:
        held = Counter(holder for o in self.placement.owners.values() for holder in o.holders)
        assert all(count <= 2 for count in held.values())


TestProcesses = Processes.TestCase


@given(st.lists(st.integers(0, 20), min_size=2, max_size=6), st.integers(1, 60))
def test_no_process_is_left_behind(sessions, streams):
    placement = ready(*((count, 0) for count in sessions))
    for _ in range(streams):
        give(placement)
    totals = [load.weight for load in placement.loads.values()]
    given_any = [load.weight for load in placement.loads.values() if load.given]
    assert max(given_any) <= min(totals) + 1
