"""Any video becomes upright pictures, 25 a second; what cannot is refused with its reason."""

import gc
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from av.video.frame import VideoFrame
from PIL import Image

from inference.errors import PreparationError
from inference.preparation.footage import Condition, examine, pictures
from inference.preparation.normalization import BACKGROUND, Normalizer
from tests.videos import write_sound, write_video


def counted(count: int, width: int = 192, height: int = 160):
    """Pictures that carry their number as two grays in the upper left."""
    for n in range(count):
        picture = np.full((height, width, 3), 128, np.uint8)
        picture[:40, :40] = 20 + 12 * (n // 10)
        picture[:40, 40:80] = 20 + 20 * (n % 10)
        picture[-40:, -40:] = (220, 30, 30)
        yield picture


def numbers(path) -> list[int]:
    return [
        10 * round((p[8:32, 8:32].mean() - 20) / 12) + round((p[8:32, 48:72].mean() - 20) / 20)
        for p in pictures(examine(path))
    ]


def refusal(path) -> str:
    with pytest.raises(PreparationError) as caught:
        list(pictures(examine(path)))
    assert path.name in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("rate", [12, 24, 25, 30, 50, 60])
def test_any_rate_becomes_25_a_second(tmp_path, rate):
    path = write_video(tmp_path / "video.mp4", counted(rate * 2 + rate // 5), rate=rate)

    shown = numbers(path)

    assert len(shown) == pytest.approx(55, abs=2)
    for tick, number in enumerate(shown):
        assert number / rate == pytest.approx(tick / 25, abs=1 / rate + 1 / 25)


def test_a_variable_rate_keeps_its_times(tmp_path):
    times = np.concatenate([np.arange(0, 1, 0.02), np.arange(1, 3, 0.08)])
    path = write_video(tmp_path / "video.mkv", counted(len(times)), times_s=times)

    shown = numbers(path)

    assert len(shown) == pytest.approx(75, abs=3)
    for tick, number in enumerate(shown[:-1]):
        assert times[number] == pytest.approx(tick / 25, abs=0.09)


@pytest.mark.parametrize(
    ("turned", "corner"), [(0, (-1, -1)), (90, (-1, 0)), (180, (0, 0)), (270, (0, -1))]
)
def test_a_turned_video_is_set_upright(tmp_path, turned, corner):
    path = write_video(tmp_path / "video.mp4", counted(60), turned_deg=turned)

    footage = examine(path)
    first = next(pictures(footage))

    upright = (160, 192) if turned % 180 == 0 else (192, 160)
    assert (footage.height, footage.width) == first.shape[:2] == upright
    part = first[-30:] if corner[0] else first[:30]
    red = part[:, -30:] if corner[1] else part[:, :30]
    assert red.mean(axis=(0, 1)) == pytest.approx((220, 30, 30), abs=25)


def test_a_still_picture_is_one_picture_turned_as_its_exif_says(tmp_path):
    path = tmp_path / "photo.png"
    picture = next(counted(1))
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    footage = examine(path)

    assert footage.is_still
    assert footage.expected_pictures == 1
    np.testing.assert_array_equal(next(pictures(footage)), picture)


def test_a_picture_with_alpha_loses_it(tmp_path):
    path = tmp_path / "cut-out.png"
    cv2.imwrite(str(path), np.dstack([next(counted(1)), np.full((160, 192), 90, np.uint8)]))

    assert next(pictures(examine(path))).shape == (160, 192, 3)


def test_what_is_no_video_is_refused(tmp_path):
    for name, content in (
        ("empty.mp4", b""),
        ("text.mp4", b"not a video" * 99),
        ("zip.mp4", b"PK"),
    ):
        (tmp_path / name).write_bytes(content)
        assert refusal(tmp_path / name) == "unreadable"
    assert refusal(write_sound(tmp_path / "sound.wav")) == "no_video"
    assert refusal(_song_with_a_cover(tmp_path / "song.m4a")) == "no_video"
    assert refusal(tmp_path / "absent.mp4") == "unreadable"


def _song_with_a_cover(path):
    with av.open(str(path), "w", format="mp4") as song:
        cover, sound = song.add_stream("mjpeg", rate=1), song.add_stream("aac", rate=16_000)
        cover.pix_fmt, cover.width, cover.height = "yuvj420p", 192, 160
        cover.disposition = Disposition.attached_pic
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 8_000), np.float32), "fltp", "mono")
        tone.sample_rate = 16_000
        song.mux(cover.encode(_frame(next(counted(1)))))
        song.mux(cover.encode(None))
        song.mux(sound.encode(tone))
        song.mux(sound.encode(None))
    return path


def _frame(picture):
    return av.VideoFrame.from_ndarray(picture, format="rgb24")


def test_of_several_videos_the_one_that_a_player_shows_is_taken(tmp_path):
    path = tmp_path / "thumbnail-first.mkv"
    with av.open(str(path), "w") as video:
        thumbnail, film = (video.add_stream(codec, rate=25) for codec in ("mjpeg", "libx264"))
        for stream, pix_fmt in ((thumbnail, "yuvj420p"), (film, "yuv420p")):
            stream.pix_fmt, stream.width, stream.height = pix_fmt, 192, 160
        video.mux(thumbnail.encode(_frame(next(counted(1)))))
        for n, picture in enumerate(counted(60)):
            frame = _frame(picture)
            frame.pts, frame.time_base = n, Fraction(1, 25)
            video.mux(film.encode(frame))
        video.mux(thumbnail.encode(None))
        video.mux(film.encode(None))

    assert len(numbers(path)) == 60


@pytest.mark.parametrize(("codec", "is_bt601"), [("libvpx", True), ("libx264", False)])
def test_the_matrix_of_hd_is_guessed_but_not_that_of_vp8(tmp_path, codec, is_bt601):
    skin = np.full((160, 1280, 3), (200, 140, 110), np.uint8)
    path = write_video(tmp_path / "wide.mkv", [skin] * 60, codec=codec)  # coded by BT.601
    shown = next(pictures(examine(path))).mean(axis=(0, 1))
    assert (np.abs(shown - skin[0, 0]).max() < 4) == is_bt601


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    write_video(tmp_path / "video.mp4", counted(60)).rename(tmp_path / "http:video.mp4")
    monkeypatch.chdir(tmp_path)

    assert len(numbers(Path("http:video.mp4"))) == 60


def test_a_refusal_says_what_and_not_where(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_bytes(b"not a video" * 99)
    with pytest.raises(PreparationError) as refused:
        examine(path)
    assert str(refused.value).startswith("text.mp4 cannot be decoded (Invalid data found")
    assert "Errno" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)


def test_a_truncated_video_is_used_as_far_as_it_goes(tmp_path):
    path = write_video(tmp_path / "video.mkv", counted(120))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.8)])

    assert 60 < len(numbers(path)) < 120


def test_a_truncated_mp4_is_refused(tmp_path):
    path = write_video(tmp_path / "video.mp4", counted(60))
    path.write_bytes(path.read_bytes()[:-2000])

    assert refusal(path) == "unreadable"


def test_short_slow_small_and_huge_videos_are_refused(tmp_path):
    assert refusal(write_video(tmp_path / "short.mp4", counted(30))) == "too_short"
    assert refusal(write_video(tmp_path / "slow.mp4", counted(12), rate=4)) == "frame_rate"
    assert refusal(write_video(tmp_path / "tiny.mp4", counted(60, 96, 64))) == "too_few_pixels"
    huge = np.zeros((10_001, 10_000), np.uint8)
    cv2.imwrite(str(tmp_path / "huge.png"), huge)
    assert refusal(tmp_path / "huge.png") == "too_many_pixels"


def test_a_photograph_of_a_phone_is_decoded_reduced(tmp_path):
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((3024, 4032, 3), 90, np.uint8))
    footage = examine(tmp_path / "photo.jpg")
    assert (footage.width, footage.height) == (2016, 1512)
    assert next(pictures(footage)).shape == (1512, 2016, 3)


def test_what_was_transparent_becomes_the_background(tmp_path):
    picture = np.full((200, 200, 4), (0, 0, 255, 255), np.uint8)
    picture[:, :100, 3] = 0
    cv2.imwrite(str(tmp_path / "cut-out.png"), picture)
    shown = next(pictures(examine(tmp_path / "cut-out.png")))
    assert shown[0, 0].tolist() == list(BACKGROUND)
    assert shown[0, 150].tolist() == [255, 0, 0]


def test_pixels_that_are_not_square_are_stretched(tmp_path):
    path = write_video(tmp_path / "video.mp4", counted(60), aspect=Fraction(2))
    footage = examine(path)
    assert (footage.width, footage.height) == (384, 160)
    assert next(pictures(footage)).shape == (160, 384, 3)


def test_a_damaged_packet_costs_its_own_pictures_only(tmp_path):
    path = write_video(tmp_path / "video.mkv", counted(100), key_every=10)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    shown = numbers(path)
    assert len(shown) > 90
    assert shown[-1] == 99
    condition = Condition()
    list(pictures(examine(path), condition))
    assert condition.damaged_s == [pytest.approx(2, abs=0.5)]


def test_joined_recordings_are_shown_one_after_the_other(tmp_path):
    """The second one's times begin at 0 again."""
    parts = [
        write_video(tmp_path / name, pictures, key_every=5).read_bytes()
        for name, pictures in (("a.ts", list(counted(100))[:50]), ("b.ts", list(counted(100))[50:]))
    ]
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(parts))
    shown = numbers(both)
    assert len(shown) == pytest.approx(100, abs=3)
    assert shown == sorted(shown)
    assert shown[-1] == 99


def test_a_size_that_changes_is_noted(tmp_path):
    """As in WebRTC recordings: one stream, whose parameter sets come again."""
    large = write_video(tmp_path / "a.ts", counted(50))
    small = write_video(tmp_path / "b.ts", counted(50, 96, 80))
    both = tmp_path / "both.ts"
    both.write_bytes(large.read_bytes() + small.read_bytes())
    condition = Condition()
    assert {p.shape for p in pictures(examine(both), condition)} == {(160, 192, 3)}
    assert condition.has_changed_size
    list(pictures(examine(large), alone := Condition()))
    assert alone == Condition()


def without_length(path: Path) -> Path:
    """A WebM as browsers record it."""
    content = path.read_bytes()
    at = content.index(b"\x44\x89")  # the element that says the length, as EBML writes its name
    path.write_bytes(content[:at] + b"\xec\x88" + content[at + 2 :])  # is none any more
    return path


def test_a_recording_of_a_browser_has_a_length(tmp_path):
    path = without_length(write_video(tmp_path / "live.webm", counted(75), codec="libvpx"))
    assert 70 <= examine(path).expected_pictures <= 76


def test_a_format_that_is_not_taken_is_named_so(tmp_path):
    (tmp_path / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "photo.jxl").write_bytes(b"\xff\x0a" + bytes(200))
    for name in ("drawing.svg", "photo.jxl"):
        assert refusal(tmp_path / name) == "unreadable"
        with pytest.raises(PreparationError, match=r"send an MP4") as caught:
            examine(tmp_path / name)
        assert "Invalid argument" not in str(caught.value)


def test_a_list_of_other_files_is_not_followed(tmp_path):
    write_video(tmp_path / "video.mp4", counted(60))
    (tmp_path / "list.txt").write_text("ffconcat version 1.0\nfile video.mp4\n")
    assert refusal(tmp_path / "list.txt") == "unreadable"


def test_a_video_of_ten_minutes_is_refused_without_decoding_it(tmp_path, monkeypatch):
    path = write_video(tmp_path / "long.mkv", counted(120), times_s=np.arange(120) * 5.0)

    with pytest.raises(PreparationError) as caught:
        examine(path)
    assert caught.value.reason == "too_long"


def test_a_long_recording_of_a_browser_is_refused_without_decoding_it(tmp_path):
    times = np.arange(120) * 5.0
    path = without_length(
        write_video(tmp_path / "live.webm", counted(120), times_s=times, codec="libvpx")
    )
    with pytest.raises(PreparationError, match="longer than 5 minutes"):
        examine(path)


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_sound_that_is_longer_than_the_picture_makes_no_video_too_long(tmp_path, kind):
    path = tmp_path / f"song.{kind}"
    with av.open(str(path), "w") as video:
        picture = video.add_stream("libx264", rate=25)
        picture.width, picture.height, picture.pix_fmt = 192, 160, "yuv420p"
        sound = video.add_stream("aac", rate=8_000, layout="mono")
        for shown in counted(60):
            video.mux(picture.encode(VideoFrame.from_ndarray(shown, format="rgb24")))
        silence = np.zeros((1, 8_000), np.float32)
        for second in range(320):
            heard = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            heard.sample_rate, heard.pts = 8_000, 8_000 * second
            video.mux(sound.encode(heard))
        video.mux(picture.encode(None))
        video.mux(sound.encode(None))
    footage = examine(path)
    assert footage.expected_pictures == pytest.approx(60, abs=2)
    assert len(list(pictures(footage))) == 60


@pytest.mark.lasting
def test_decoded_pictures_do_not_pile_up(tmp_path):
    """Not even where nothing else lets the collector of cycles run."""
    gray = np.full((1_080, 1_920, 3), 128, np.uint8)
    footage = examine(write_video(tmp_path / "gray.mp4", (gray for _ in range(80))))
    most = 0
    gc.collect()
    gc.disable()
    try:
        for number, _ in enumerate(pictures(footage)):
            if number % 8 == 7:
                # By type: a dead weak proxy of another test's answers no other question.
                most = max(most, sum(type(kept) is VideoFrame for kept in gc.get_objects()))
    finally:
        gc.enable()
    assert 1 <= most * 1_920 * 1_080 * 1.5 < 100_000_000


def test_too_little_memory_is_not_called_damage(tmp_path, monkeypatch):
    path = write_video(tmp_path / "me.mp4", counted(60))
    footage = examine(path)

    def fail(*_: object, **__: object) -> None:
        raise av.error.MemoryError(12, "Cannot allocate memory")

    monkeypatch.setattr(Normalizer, "normalize", fail)
    with pytest.raises(MemoryError):
        list(pictures(footage))


@pytest.mark.parametrize("name", ["waves.webp", "waves.png", "waves.avif"])
def test_of_a_picture_that_moves_the_first_one_is_taken(tmp_path, name):
    path = tmp_path / name
    first, *others = [Image.new("RGB", (180, 140), color) for color in ("red", "lime", "blue")]
    first.save(path, save_all=True, append_images=others)
    footage = examine(path)
    (picture,) = pictures(footage)
    assert (footage.is_still, footage.width, footage.height) == (True, 180, 140)
    assert picture.mean(axis=(0, 1)) == pytest.approx((255, 0, 0), abs=6)


def test_the_size_of_an_animated_webp_is_judged_before_it_is_decoded(tmp_path):
    path = tmp_path / "waves.webp"
    first, *others = [Image.new("RGB", (180, 140), color) for color in ("red", "lime")]
    first.save(path, save_all=True, append_images=others)
    content = path.read_bytes()
    path.write_bytes(content[:24] + b"\xff\x3f\0" * 2 + content[30:])  # 16384 x 16384
    assert refusal(path) == "too_many_pixels"
    path.write_bytes(content[:12] + b"VP8?" + content[16:])
    assert refusal(path) == "unreadable"


@pytest.mark.parametrize("name", ["photo.gif", "photo.avif", "photo.tiff", "photo.bmp"])
def test_a_photograph_of_any_format_is_a_still(tmp_path, name):
    Image.fromarray(next(counted(1))).save(tmp_path / name)
    footage = examine(tmp_path / name)
    (picture,) = pictures(footage)
    assert (footage.is_still, picture.shape) == (True, (160, 192, 3))
    assert np.abs(picture.astype(int) - next(counted(1))).mean() < 3


def test_what_was_lost_on_the_way_smears_no_picture(tmp_path):
    """As over the air: packets of the transport stream are missing, in one place."""
    noise = np.random.default_rng(1).integers(0, 255, (20, 40, 3), np.uint8)
    wide = cv2.resize(noise, (400, 160))
    path = write_video(
        tmp_path / "a.ts", (wide[:, n * 4 : n * 4 + 160] for n in range(56)), key_every=8
    )
    whole = np.stack(list(pictures(examine(path))))[:, ::4, ::4].astype(int)
    content, unit = path.read_bytes(), 188
    found = 0
    for lost in range(len(content) // unit // 3, len(content) // unit // 3 * 2, 18):
        path.write_bytes(content[: lost * unit] + content[(lost + 2) * unit :])
        condition = Condition()
        for picture in pictures(examine(path), condition):
            assert np.abs(whole - picture[::4, ::4]).mean(axis=(1, 2, 3)).min() < 0.5
        due_s = 56 / 25 * lost * unit / len(content)
        assert all(abs(second - due_s) < 0.4 for second in condition.damaged_s)
        found += len(condition.damaged_s)
    assert found > 8  # some hold no picture
