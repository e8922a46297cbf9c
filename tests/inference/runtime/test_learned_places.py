"""Places that follow what sessions cost and how late they are, second by second."""

from hypothesis import given
from hypothesis import strategies as st

from inference.runtime.learned_places import LearnedPlaces


def speak(
    learned: LearnedPlaces, *, frame_s: float, seconds: int = 60, sessions: int = 4, idle: int = 0
) -> None:
    """So many sessions speak for a while, each of their frames taking so much."""
    speaking, others = 25 * sessions, 25 * idle
    for _ in range(seconds):
        cpu_s = speaking * frame_s + others * 0.000_2
        learned.observe(cpu_s, speaking=speaking, others=others, is_late=False)


@given(st.floats(0.0005, 0.05), st.floats(0.1, 64))
def test_more_cores_carry_more_and_slower_ones_less(frame_s: float, cores: float) -> None:
    places = LearnedPlaces(frame_s, cores).places
    assert places >= 1
    assert LearnedPlaces(frame_s, 2 * cores).places >= places
    assert LearnedPlaces(2 * frame_s, cores).places <= places


@given(st.sampled_from([0.004, 0.008, 0.016]))
def test_what_sessions_cost_replaces_the_first_measurement(frame_s: float) -> None:
    learned = LearnedPlaces(0.008, cores=2)
    speak(learned, frame_s=frame_s)
    assert abs(learned.places - LearnedPlaces(frame_s, cores=2).places) <= 1


def test_one_strange_second_changes_little() -> None:
    learned = LearnedPlaces(0.008, cores=4)
    before = learned.places
    learned.observe(100.0, speaking=100, others=0, is_late=False)
    assert before / 2 < learned.places < before


def test_sessions_that_only_watch_make_no_speaker_dearer() -> None:
    learned = LearnedPlaces(0.008, cores=2)
    speak(learned, frame_s=0.008, sessions=1, idle=200)
    assert learned.places == LearnedPlaces(0.008, cores=2).places


def test_what_watching_costs_is_learned_while_nobody_speaks() -> None:
    learned = LearnedPlaces(0.008, cores=2)
    for _ in range(60):
        learned.observe(5_000 * 0.000_1, speaking=0, others=5_000, is_late=False)
    for _ in range(60):
        cpu_s = 25 * 0.008 + 5_000 * 0.000_1
        learned.observe(cpu_s, speaking=25, others=5_000, is_late=False)
    assert learned.places == LearnedPlaces(0.008, cores=2).places


def test_lateness_withdraws_places_and_they_come_back() -> None:
    learned = LearnedPlaces(0.004, cores=4)
    before = learned.places
    for _ in range(5):
        learned.observe(0.4, speaking=100, others=0, is_late=True)
    withdrawn = learned.places
    assert before * 0.5 < withdrawn < before * 0.7
    for _ in range(100):
        learned.observe(0.4, speaking=100, others=0, is_late=True)
    assert learned.places == int(before / 4), "some are left, however long a neighbor stays"
    for _ in range(15):
        learned.observe(0.4, speaking=100, others=0, is_late=False)
    assert learned.places == before
