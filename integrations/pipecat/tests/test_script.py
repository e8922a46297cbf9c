from pipecat.frames.frames import EndFrame, Frame, TTSAudioRawFrame, TTSStoppedFrame, TTSTextFrame

from pipecat_talking_avatar.script import Script
from pipecat_talking_avatar.segment import Segment


def segment() -> Segment:
    return Segment(16_000)


def voice(samples: int) -> TTSAudioRawFrame:
    return TTSAudioRawFrame(bytes(2 * samples), 16_000, 1, "reply")


def word(text: str) -> TTSTextFrame:
    return TTSTextFrame(text, "word")


def names(frames: list[Frame]) -> list[str]:
    return [
        f"voice {len(one.audio) // 2}" if isinstance(one, TTSAudioRawFrame) else type(one).__name__
        for one in frames
    ]


def script_of(*frames: Frame, into: Segment | None = None) -> Script:
    script = Script()
    script.begin(into or segment())
    for frame in frames:
        if isinstance(frame, TTSAudioRawFrame):
            script.add_voice(frame)
        else:
            script.add(frame)
    return script


def test_what_is_heard_is_marked_as_the_voice_that_came() -> None:
    given = voice(100)
    given.transport_destination = "stage"
    given.interruptible = False
    script = script_of(voice(50), given)
    first = script.as_heard(bytes(100), 16_000)
    assert (first.context_id, first.transport_destination) == ("reply", None)
    script.shown(50)
    heard = script.as_heard(bytes(100), 16_000)
    assert (heard.audio, heard.sample_rate, heard.num_frames) == (bytes(100), 16_000, 50)
    assert (heard.context_id, heard.transport_destination) == ("reply", "stage")
    assert not heard.interruptible


def test_a_frame_leaves_when_the_voice_before_it_was_shown() -> None:
    script = script_of(voice(1_000), word("one"), voice(500), TTSStoppedFrame())
    assert names(script.shown(999)) == []
    assert names(script.shown(1)) == ["TTSTextFrame"]
    assert script.unheard_s == 500 / 16_000
    assert names(script.shown(640)) == ["TTSStoppedFrame"]


def test_padding_of_the_last_picture_is_not_counted_against_the_next_segment() -> None:
    script = script_of(voice(100))
    script.begin(segment())
    script.add_voice(voice(640))
    script.shown(640)
    assert script.unheard_s == 640 / 16_000


def test_what_was_not_counted_leaves_when_the_server_says_that_the_segment_is_over() -> None:
    spoken = segment()
    script = script_of(voice(1_000), TTSStoppedFrame(), into=spoken)
    spoken.end()
    script.shown(990)  # rates differ by fractions of a sample
    assert names(script.over()) == ["TTSStoppedFrame"]
    assert script.is_empty


def test_a_refused_segment_waits_for_the_one_before_it() -> None:
    first, second = segment(), segment()
    script = script_of(voice(1_000), into=first)
    first.end()
    script.begin(second)
    script.add_voice(voice(300))
    script.add(TTSStoppedFrame())
    second.end()
    assert names(script.lose(second)) == []
    assert names(script.over()) == ["voice 300", "TTSStoppedFrame"]
    assert script.is_empty


def test_a_lost_server_gives_back_all_that_was_not_heard_in_order() -> None:
    script = script_of(voice(1_000), word("one"), voice(500), TTSStoppedFrame())
    script.shown(600)
    assert names(script.lose_all()) == ["voice 400", "TTSTextFrame", "voice 500", "TTSStoppedFrame"]
    assert script.is_empty


def test_an_interruption_keeps_only_what_may_not_be_interrupted() -> None:
    script = script_of(voice(1_000), word("one"), EndFrame())
    assert names(script.interrupt()) == ["EndFrame"]
    assert script.is_empty
