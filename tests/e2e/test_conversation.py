"""A whole conversation as JSON, with a real server, and what is really to be seen."""

import json
import uuid

import cv2
import numpy as np
import pytest

from benchmarks.pictures import AvatarPictures, luma_of
from benchmarks.speech import Speech, babble
from tests.e2e.wire import access_units, raw_client
from tests.media import assert_decodes, assert_pts_contiguous

pytestmark = pytest.mark.slow

SPEECH = Speech(babble(4), "babble")


@pytest.fixture(scope="module")
def presenter():
    return AvatarPictures()


async def test_speech_comes_back_as_a_talking_face(server, presenter):
    pcm = SPEECH.part(0, 50)
    async with raw_client(server.address, "ada") as client:
        ready = await client.open("ada")
        assert ready["session_id"] == client.session_id
        assert ready["data"]["streaming_started"] is True
        assert ready["data"]["default_video"] in ready["data"]["available_videos"]
        assert ready["data"]["video"]["codec"].startswith("avc1.42")
        idle = await client.hear_frames(20)
        await client.speak(pcm)
        talking = await client.hear_frames(80)
        await client.send("CLOSE")
        assert (await client.hear_one("CLOSE_ACK"))["data"] == {"reason": "client_request"}
        await client.socket.wait_closed()
        assert client.socket.close_code == 1000

    frames = idle + talking
    assert_pts_contiguous([frame["frame_timestamp"] for frame in frames], first_ms=0)
    pictures = assert_decodes(access_units(frames))
    assert frames[0]["keyframe"] is True
    assert all("audio_timestamp" not in frame for frame in idle)
    spoken = [n for n, frame in enumerate(frames) if "audio_timestamp" in frame]
    assert [frames[n]["audio_timestamp"] for n in spoken] == [40 * n for n in range(50)]
    # On a busy machine speech comes late, and is waited for.
    assert spoken[-1] - spoken[0] < 50 + 10
    _assert_only_the_mouth_moves(presenter, frames, pictures, spoken)


def _assert_only_the_mouth_moves(presenter, frames, pictures, spoken):
    """Against the clips' own pictures: another mouth, and all around it the same."""
    clips = [frame["base_video"] for frame in frames]
    mouths = []
    for number in spoken:
        # A cross-fade between two clips is like neither of them.
        if len(set(clips[max(0, number - 4) : number + 1])) > 1:
            continue
        luma, clip = luma_of(pictures[number]), clips[number]
        place = presenter.locate(luma, clip)
        own, region = presenter.luma(clip, place.index), presenter.mouth(clip, place.index)
        difference = cv2.absdiff(luma, own)
        assert difference[presenter.outside(clip)].mean() < 2.0
        mouths.append(np.mean(region.of(difference) > 24))
    assert len(mouths) > 25
    assert np.percentile(mouths, 75) > 0.01


@pytest.mark.lasting
async def test_whole_sentences_and_odd_chunks_are_speech_too(server):
    pcm = SPEECH.part(30, 60)
    for chunk_bytes in (640, 2_048, 31_998, 32_000):
        async with raw_client(server.address, "ada") as client:
            await client.open("ada")
            await client.speak(pcm, chunk_bytes)
            frames = await client.hear_frames(90)
        spoken = [frame["audio_timestamp"] for frame in frames if "audio_timestamp" in frame]
        assert spoken == [40 * n for n in range(60)]
        assert_pts_contiguous([frame["frame_timestamp"] for frame in frames], first_ms=0)
        assert_decodes(access_units(frames))


async def test_a_second_utterance_continues_where_the_first_ended(server):
    async with raw_client(server.address, "ada") as client:
        await client.open("ada")
        await client.speak(SPEECH.part(0, 10)[:-400])  # the end is padded, the position is not
        frames = await client.hear_frames(40)
        await client.speak(SPEECH.part(20, 5))
        frames += await client.hear_frames(30)
    spoken = [frame["audio_timestamp"] for frame in frames if "audio_timestamp" in frame]
    first_samples = 10 * 640 - 200
    assert spoken[:10] == [40 * n for n in range(10)]
    assert spoken[10:] == [(first_samples + 640 * n) // 16 for n in range(5)]
    assert_decodes(access_units(frames))


@pytest.mark.parametrize(
    "form",
    [{"action_index": 1}, pytest.param({"action_type": "action_2"}, marks=pytest.mark.lasting)],
)
async def test_actions_go_over_speech_and_come_to_an_end(server, form):
    async with raw_client(server.address, "ada") as client:
        await client.open("ada")
        await client.speak(SPEECH.part(0, 100))
        await client.hear_frames(10)
        await client.send("ACTION", **form)
        messages = [await client.next() for _ in range(250)]
    frames = [m["data"] for m in messages if m["type"] in {"VIDEO_FRAME", "ACTION_FRAME"}]
    triggered = [m["data"] for m in messages if m["type"] == "ACTION_TRIGGERED"]
    acted = [f for f in frames if f["state"] == "action"]
    index = form.get("action_index", 2)
    assert triggered == [{"action_index": index, "inserted": True}]
    assert {f["base_video"] for f in acted} == {f"action_{index}"}
    assert frames.index(acted[0]) <= 30
    assert frames[-1]["state"] != "action"
    assert [f["audio_timestamp"] for f in frames if "audio_timestamp" in f][-1] == 99 * 40
    progress = [m["data"]["action_progress"] for m in messages if m["type"] == "ACTION_FRAME"]
    if "action_type" in form:
        assert len(progress) == len(acted)
        assert progress == sorted(set(progress))
        assert progress[-1] == 1.0
    else:
        assert progress == []
    assert_pts_contiguous([f["frame_timestamp"] for f in frames])


async def test_an_interrupt_drops_what_is_queued_and_new_speech_is_shown(server):
    async with raw_client(server.address, "ada") as client:
        await client.open("ada")
        await client.speak(SPEECH.part(0, 200), 32_000)
        before = await client.hear_frames(30)
        await client.send("INTERRUPT")
        interrupted = await client.hear_one("INTERRUPTED")
        quiet = await client.hear_frames(20)
        await client.speak(SPEECH.part(0, 5))
        after = await client.hear_frames(20)
    shown = [f["audio_timestamp"] for f in before if "audio_timestamp" in f]
    dropped_ms = interrupted["data"]["dropped_ms"]
    assert 200 * 40 - shown[-1] - 40 >= dropped_ms > 200 * 40 - shown[-1] - 40 - 400
    assert all("audio_timestamp" not in f for f in quiet)
    assert [f["audio_timestamp"] for f in after if "audio_timestamp" in f] == [
        200 * 40 + 40 * n for n in range(5)
    ]


async def test_clips_follow_what_is_asked(server):
    async with raw_client(server.address, "ada") as client:
        ready = await client.open("ada")
        for clip in ("idle_2", "speaking_1"):
            assert clip in ready["data"]["available_videos"]
            await client.send("STATE_CHANGE", target_state=clip.split("_")[0], base_video=clip)
            changed = await client.hear_one("STATE_CHANGED")
            assert changed["data"] == {
                "current_state": clip.split("_")[0],
                "current_video": clip,
            }
            frames = await client.hear_frames(40)
            assert clip in {frame["base_video"] for frame in frames[:30]}
            assert frames[-1]["base_video"] == clip


async def test_two_sessions_of_one_user_are_two(server):
    async with (
        raw_client(server.address, "ada") as first,
        raw_client(server.address, "ada") as second,
    ):
        await first.open("ada")
        await second.open("ada")
        await first.speak(SPEECH.part(0, 25))
        speaking = await first.hear_frames(40)
        watching = await second.hear_frames(40)
    assert sum("audio_timestamp" in frame for frame in speaking) == 25
    assert not any("audio_timestamp" in frame for frame in watching)


async def test_a_newer_connection_takes_the_session_over(server):
    async with (
        raw_client(server.address, "ada") as older,
        raw_client(server.address, "ada") as newer,
    ):
        await older.open("ada")
        newer.session_id = older.session_id
        await newer.open("ada")
        await newer.hear_frames(5)
        assert (await older.hear_one("CLOSE_ACK"))["data"]["reason"] == "error"
        await older.socket.wait_closed()
        assert older.socket.close_code == 4409


async def test_without_an_id_the_server_makes_one(server):
    async with raw_client(server.address, "ada") as client:
        await client.socket.send(json.dumps({"type": "INIT", "data": {"user_id": "ada"}}))
        made = (await client.hear_one("INIT_SUCCESS"))["session_id"]
        assert str(uuid.UUID(made)) == made
        client.session_id = made
        await client.send("INTERRUPT")
        assert (await client.hear_one("INTERRUPTED"))["data"] == {"dropped_ms": 0}
