"""Utterances against a simple account of what was sent, shown and interrupted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.protocol.errors import ProtocolError
from streaming.session.utterances import Finished, Started, Utterances

FRAME = 640


def accept(utterances: Utterances, utterance_id: str | None, start: int, end: int) -> None:
    """Audio is accepted."""
    if not utterances.continues(utterance_id):
        utterances.begin(utterance_id, start)
    utterances.extend(end)


def test_an_utterance_starts_with_its_first_frame_and_finishes_with_its_last():
    utterances = Utterances()
    accept(utterances, "a", 0, 1_000)
    assert utterances.show(0, FRAME) == [Started("a", 0)]
    assert utterances.settle(FRAME) == []
    utterances.close()
    assert utterances.show(FRAME, 1_000) == []
    assert utterances.settle(1_000) == [Finished("a", 62, is_interrupted=False)]
    assert utterances.settle(1_000) == []


def test_utterances_without_an_id_are_numbered():
    utterances = Utterances()
    accept(utterances, None, 0, FRAME)
    accept(utterances, None, FRAME, 2 * FRAME)
    accept(utterances, "mine", 2 * FRAME, 3 * FRAME)
    accept(utterances, None, 3 * FRAME, 4 * FRAME)
    events = [event for n in range(4) for event in utterances.show(n * FRAME, (n + 1) * FRAME)]
    started = [event.utterance_id for event in events if isinstance(event, Started)]
    assert started == ["#1", "mine", "#3"]


def test_audio_of_an_utterance_that_is_over_is_refused_once():
    utterances = Utterances()
    accept(utterances, "a", 0, FRAME)
    assert utterances.continues("a")
    utterances.close()
    with pytest.raises(ProtocolError) as refused:
        utterances.may_begin("a")
    assert refused.value.details == {"reason": "utterance_over", "utterance_id": "a"}
    assert not utterances.may_begin("a")
    utterances.show(0, FRAME)
    utterances.settle(FRAME)
    assert not utterances.may_begin("a")
    assert utterances.may_begin("b")
    assert utterances.may_begin(None)


def test_the_end_of_speech_names_the_newest_utterance():
    utterances = Utterances()
    with pytest.raises(ProtocolError, match="none yet"):
        utterances.ends("a")
    accept(utterances, "a", 0, FRAME)
    accept(utterances, "b", FRAME, 2 * FRAME)
    assert utterances.ends("b")
    assert utterances.ends(None)
    with pytest.raises(ProtocolError, match="newest utterance is 'b'"):
        utterances.ends("a")
    utterances.drop(1)
    utterances.confirm_drop(1, 0)
    assert utterances.ends("b")


def test_the_end_of_an_utterance_that_could_not_begin_ends_nothing():
    utterances = Utterances()
    accept(utterances, "a", 0, FRAME)
    utterances.not_begun("b")
    assert not utterances.ends("b")
    assert utterances.current == "a"
    accept(utterances, "b", FRAME, 2 * FRAME)  # it was sent again
    assert utterances.ends("b")


def test_an_interrupt_finishes_all_that_was_queued_in_order():
    utterances = Utterances()
    accept(utterances, "a", 0, 4 * FRAME)
    accept(utterances, "b", 4 * FRAME, 8 * FRAME)
    utterances.show(0, FRAME)
    utterances.drop(1)
    accept(utterances, "c", 8 * FRAME, 9 * FRAME)
    assert utterances.confirm_drop(1, FRAME) == [
        Finished("a", 40, is_interrupted=True),
        Finished("b", 0, is_interrupted=True),
    ]
    assert utterances.show(8 * FRAME, 9 * FRAME) == [Started("c", 8 * FRAME)]


actions = st.lists(
    st.one_of(
        st.tuples(st.just("audio"), st.sampled_from([None, "a", "b"]), st.integers(1, 2_000)),
        st.tuples(st.just("show"), st.integers(1, 5)),
        st.tuples(st.just("close")),
        st.tuples(st.just("interrupt")),
    ),
    max_size=60,
)


@given(actions)
def test_each_utterance_is_finished_exactly_once_in_order_with_what_was_played(steps):
    utterances, accepted, shown, generation = Utterances(), 0, 0, 0
    fresh = {"a": 0, "b": 0}
    sent: list[str] = []
    played: dict[str, int] = {}
    owner: list[str] = []  # of each sample
    events = []

    def tell(new):
        events.extend(new)

    for step in steps:
        match step:
            case ("audio", name, samples):
                utterance_id = None if name is None else f"{name}{fresh[name]}"
                try:
                    is_new = not utterances.continues(utterance_id)
                    if is_new and not utterances.may_begin(utterance_id):
                        continue
                except ProtocolError:
                    fresh[name] += 1
                    continue
                accept(utterances, utterance_id, accepted, accepted + samples)
                if is_new:
                    sent.append(utterances.current)
                owner.extend([sent[-1]] * samples)
                accepted += samples
            case ("show", frames):
                for _ in range(frames):
                    end = min(shown + FRAME, accepted)
                    if end == shown:
                        break
                    tell(utterances.show(shown, end))
                    for sample in owner[shown:end]:
                        played[sample] = played.get(sample, 0) + 1
                    shown = end
                    tell(utterances.settle(shown))
            case ("close",):
                utterances.close()
                tell(utterances.settle(shown))
            case ("interrupt",):
                generation += 1
                utterances.drop(generation)
                tell(utterances.confirm_drop(generation, shown))
                shown = accepted
    tell(utterances.finish_all(shown))

    finished = [event for event in events if isinstance(event, Finished)]
    assert [event.utterance_id for event in finished] == sent
    assert [event.played_ms for event in finished] == [played.get(one, 0) // 16 for one in sent]
    started = [event.utterance_id for event in events if isinstance(event, Started)]
    assert started == [one for one in sent if played.get(one)]
    for one in started:
        names = [event.utterance_id for event in events if event.utterance_id == one]
        assert len(names) == 2
