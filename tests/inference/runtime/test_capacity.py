"""Who may speak, and who is admitted."""

from inference.assets import manifest as manifests
from inference.assets.library import AvatarLibrary
from inference.media.profile import DEFAULT_PROFILE
from inference.runtime.calibration import CalibrationFile, measure_frame_s
from inference.runtime.capacity import LATE_S, LONG_WINDOW_S, VERY_LATE_S, WINDOW_S, Capacity
from tests.factories import make_avatar
from tests.fakes import LoudnessEngine


def test_places_are_counted():
    capacity = Capacity(lambda: 2)
    assert capacity.may_speak(1, 0.0)
    assert not capacity.may_speak(2, 0.0)


def test_without_a_measure_punctuality_alone_decides():
    capacity = Capacity()
    assert capacity.may_speak(1_000, 0.0)
    for frame in range(100):
        capacity.frame_sent(0.0 if frame % 5 else LATE_S + 0.01, frame * 0.01)
    assert not capacity.may_speak(1, 1.0), "one frame of five is late"
    assert capacity.may_speak(0, 1.0), "nobody else speaks"
    assert capacity.refusal(10, 1.0) is None, "idle sessions cost nothing"


def test_a_process_that_is_late_recovers_by_itself():
    capacity = Capacity(lambda: 10)
    for frame in range(100):
        capacity.frame_sent(VERY_LATE_S + 0.1, frame * 0.01)
    assert not capacity.may_speak(1, 1.0)
    assert capacity.refusal(0, 1.0) == "frames are late already"
    assert capacity.refusal(0, 1.0, is_new=False) is None
    assert capacity.may_speak(1, 1.0 + WINDOW_S + 0.3)
    assert capacity.refusal(0, 1.0 + WINDOW_S + 0.3) is None


def test_a_process_is_not_sent_more_streams_while_its_99th_percentile_is_late():
    capacity = Capacity(lambda: 10)
    for frame in range(1_000):  # 2 % of ten seconds
        capacity.frame_sent(VERY_LATE_S + 0.05 if frame % 50 == 0 else 0.0, frame * 0.01)
    assert capacity.is_very_late(10.0)
    assert capacity.refusal(0, 10.0) is None, "what comes all the same is admitted"
    for frame in range(1_000):
        capacity.frame_sent(0.0, 10.0 + frame * 0.01)
        was_late = capacity.is_very_late(10.0 + frame * 0.01)
    assert not was_late
    assert not capacity.is_very_late(10.0 + LONG_WINDOW_S + 0.5)


def test_half_a_percent_of_late_frames_is_no_hindrance():
    capacity = Capacity(lambda: 10)
    for frame in range(1_000):
        capacity.frame_sent(VERY_LATE_S + 0.05 if frame % 200 == 0 else 0.0, frame * 0.01)
    assert not capacity.is_very_late(10.0)


def test_a_single_late_frame_says_nothing():
    capacity = Capacity()
    capacity.frame_sent(1.0, 0.0)
    assert capacity.may_speak(1, 0.1)


def test_repeated_mouths_count_as_late():
    capacity = Capacity()
    for frame in range(100):
        capacity.frame_sent(0.0, frame * 0.01, is_repeated=frame % 5 == 0)
    assert not capacity.may_speak(1, 1.0)


def test_sessions_may_reserve_a_part_of_a_place():
    half = Capacity(lambda: 2, speech_share=0.5)
    assert half.refusal(3, 0.0) is None
    assert half.refusal(4, 0.0) == "4 sessions reserve parts of 2 places to speak"
    assert Capacity(lambda: 2).refusal(1_000, 0.0) is None


def test_what_was_measured_is_kept_for_this_version(tmp_path):
    file = CalibrationFile(tmp_path / "var" / "calibration.json", "1")
    assert file.read() is None
    file.write(0.0041)
    assert file.read() == 0.0041
    assert CalibrationFile(file.path, "2").read() is None
    file.path.write_text("[]")
    assert file.read() is None


def test_an_avatar_that_is_damaged_does_not_keep_a_server_from_starting(tmp_path, caplog):
    make_avatar(tmp_path / "ada", clips={"idle_0": 12})
    library = AvatarLibrary(tmp_path, tmp_path)
    trial = (LoudnessEngine(), library, "ada", DEFAULT_PROFILE)
    assert measure_frame_s(*trial) > 0
    path = manifests.clip_path(tmp_path / "ada", "idle_0")
    path.write_bytes(bytes(path.stat().st_size))
    assert measure_frame_s(*trial) is None
    assert "speaking frames of ada could not be made" in caplog.text
