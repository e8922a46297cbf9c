"""The engine through its gateway, with the small nets: hearing, making, preparing, failing."""

import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from inference.assets import manifest as manifests
from inference.engines.base import EngineState, RenderJob, RenderRefusal
from inference.engines.musetalk import engine as engine_module
from inference.engines.musetalk import loaded as loaded_nets
from inference.engines.musetalk import recovery
from inference.engines.musetalk.audio import speech
from inference.engines.musetalk.audio.feature_packing import pack, unpack
from inference.engines.musetalk.circuit_breaker import CircuitBreaker
from inference.engines.musetalk.engine import MuseTalkEngine
from inference.engines.musetalk.execution import batch
from inference.engines.musetalk.face.boxes import crop_box
from inference.engines.musetalk.prepare import background
from inference.engines.musetalk.prepare.avatar import FaceClip, kept_in, read_clip
from inference.engines.musetalk.prepare.background import MuseTalkAvatar
from inference.engines.musetalk.prepare.clip_files import find_meshes, prepare_clip
from inference.errors import (
    AvatarInvalid,
    EngineError,
    EngineOutOfMemory,
    EngineUnavailable,
)
from inference.media.types import AudioWindow, Patch
from inference.timing import SAMPLES_PER_FRAME
from tests.drawn_face import draw_face
from tests.factories import make_avatar, mesh_of_a_face

WEIGHTS = Path(__file__).parents[3] / "data" / "musetalk" / "weights"


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def engine():
    engine = MuseTalkEngine(WEIGHTS, device="cpu", prepares="all", max_batch=2)
    with pytest.MonkeyPatch.context() as however_slow_the_machine_is:
        however_slow_the_machine_is.setattr(loaded_nets, "TOO_SLOW_MS", math.inf)
        engine.load()
    return engine


@pytest.fixture(autouse=True)
def patient(engine, monkeypatch):
    """However slow the machine is that the tests run on."""
    monkeypatch.setattr(engine_module, "MOST_LEAD_S", 1_000.0)
    monkeypatch.setattr(engine, "_circuit_breaker", CircuitBreaker(1_000.0))


def speech_like(count: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=count) * 0.1).astype(np.float32)


def window(engine, samples, first_frame, frames=1):
    """As the host cuts it: zeros before the utterance and after what is there."""
    before, after = engine.context.before, engine.context.after
    begin = first_frame * SAMPLES_PER_FRAME - before
    span = before + frames * SAMPLES_PER_FRAME + after
    padded = np.concatenate([np.zeros(before, np.float32), samples, np.zeros(span, np.float32)])
    return AudioWindow(padded[begin + before : begin + before + span].copy(), frames)


def test_features_do_not_depend_on_company_or_order(engine):
    samples = speech_like(60 * SAMPLES_PER_FRAME)
    windows = [
        window(engine, samples, 3),
        window(engine, samples, 20, frames=4),
        window(engine, samples, 9),
        window(engine, -samples, 9),
    ]
    together = engine.listen(windows)
    assert [len(frames) for frames in together] == [1, 4, 1, 1]
    for one, frames in zip(windows, together, strict=True):
        [alone] = engine.listen([one])
        for first, second in zip(frames, alone, strict=True):
            np.testing.assert_allclose(first, second, atol=1e-5)


def test_a_window_of_the_whole_recording_is_the_references_hearing(engine):
    """With nothing left out (30 s, all of the future) streaming is the published way."""
    encoder = engine.nets.loaded.nets.whisper
    samples = torch.from_numpy(speech_like(480_000))
    with torch.inference_mode():
        features = speech.encode_recording(encoder, samples)
        wanted = speech.recording_tokens(features, 700)[100:103]
        whole = speech.StreamingWindow(before=64_000, after=480_000 - 64_000 - 3 * 640)
        found = whole.tokens(encoder, samples[None], 3)[0]
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_what_is_beyond_the_look_ahead_is_not_heard(engine):
    samples = speech_like(40 * SAMPLES_PER_FRAME)
    end = 11 * SAMPLES_PER_FRAME + engine.context.after
    cut = np.where(np.arange(len(samples)) < end, samples, 0.7).astype(np.float32)
    [[first]], [[second]] = (engine.listen([window(engine, x, 10)]) for x in (samples, cut))
    assert (first == second).all()


def test_silence_has_no_mouth_and_speech_has(engine):
    samples = np.zeros(60 * SAMPLES_PER_FRAME, np.float32)
    samples[10 * 640 : 20 * 640] = speech_like(10 * 640)
    [frames] = engine.listen([window(engine, samples, 0, frames=40)])
    weights = [unpack(features)[1] for features in frames]
    assert weights[10:22] == [1.0] * 12
    assert weights[:8] == [0.0] * 8
    assert weights[26:] == [0.0] * 14
    assert weights[20:] == sorted(weights[20:], reverse=True)
    assert weights[:11] == sorted(weights[:11])


def test_features_are_packed_and_unpacked():
    tokens = np.arange(50 * 4, dtype=np.float32).reshape(50, 4)
    found, weight = unpack(pack(tokens, 0.25))
    assert (found == tokens).all()
    assert weight == 0.25


def face_clip(frames=4, seed=0):
    rng = np.random.default_rng(seed)
    places = np.zeros((frames, 8), np.int32)
    masks = np.zeros((frames, 96, 130), np.uint8)
    for index in range(frames - 1):  # the last picture has no face
        places[index] = (180 + index, 160, 330, 340, 184, 250, 130 - 2 * index, 90)
        masks[index, 5:85, 5:110] = 255
    return FaceClip(rng.normal(size=(frames, 8, 32, 32)).astype(np.float16), masks, places)


@pytest.fixture
def avatar():
    return MuseTalkAvatar("test", {"idle_0": face_clip()})


def picture(seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(16, 235, (768, 512), dtype=np.uint8)


def features_of(engine, seed=0, weight=1.0):
    width = engine.nets.loaded.nets.width
    rng = np.random.default_rng(seed)
    return pack(rng.normal(size=(50, width)).astype(np.float32), weight)


def job(engine, avatar, index=0, seed=0, weight=1.0, strength=1.0, clip="idle_0"):
    features = features_of(engine, seed, weight)
    return RenderJob(avatar, clip, index, picture(seed), features, strength)


def same(first, second, off=0):
    planes = ("y_plane", "u_plane", "v_plane")
    return (first.x, first.y) == (second.x, second.y) and all(
        np.abs(getattr(first, p).astype(int) - getattr(second, p)).max() <= off for p in planes
    )


def test_patches_are_even_rectangles_of_the_picture(engine, avatar):
    [patch] = engine.render([job(engine, avatar, index=1)])
    assert (patch.x, patch.y) == (184, 250)
    assert patch.y_plane.shape == (90, 128)
    assert patch.u_plane.shape == patch.v_plane.shape == (45, 64)
    source = picture(0)[250:340, 184:312]
    outside = np.ones(source.shape, bool)
    outside[5:85, 5:110] = False
    assert (patch.y_plane[outside] == source[outside]).all()
    assert (patch.y_plane != source).any()


def test_what_needs_no_mouth_gets_none(engine, avatar):
    jobs = [
        job(engine, avatar, weight=0.0),
        job(engine, avatar, strength=0.0),
        job(engine, avatar, index=3),
        job(engine, avatar),
    ]
    patches = engine.render(jobs)
    assert patches[:3] == [None] * 3
    assert isinstance(patches[3], Patch)


def test_a_device_that_is_too_slow_says_so_instead_of_working_for_nothing(
    engine, avatar, monkeypatch
):
    monkeypatch.setattr(engine, "_circuit_breaker", CircuitBreaker(0.4))
    engine._circuit_breaker.learned(6.4)
    assert engine._circuit_breaker.may_begin(time.monotonic())
    jobs = [job(engine, avatar), job(engine, avatar, weight=0.0)]
    [withheld, nothing] = engine.render(jobs)
    assert isinstance(withheld, RenderRefusal)
    assert "takes 6.40 s" in withheld.reason
    assert nothing is None
    engine._circuit_breaker.learned(0.1)
    assert isinstance(engine.render(jobs)[0], Patch)


def test_a_clip_that_is_not_prepared_is_said_to_be(engine, avatar):
    [patch] = engine.render([job(engine, avatar, clip="speaking_0")])
    assert patch == RenderRefusal("speaking_0 is not prepared for MuseTalk")


def test_a_job_does_not_depend_on_its_batch(engine, avatar):
    jobs = [job(engine, avatar, index=n % 3, seed=n) for n in range(5)]
    for alone, together in zip(jobs, engine.render(jobs), strict=True):
        [single] = engine.render([alone])
        assert same(single, together, off=1)


def test_what_memory_held_before_does_not_show(engine, avatar, monkeypatch):
    """Patches of one batch differ in size; what is beside them is not even cleared."""
    jobs = [job(engine, avatar, index=n) for n in range(2)]
    wanted = engine.render(jobs)

    class Used(batch._Staging):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            for tensor in vars(self).values():
                tensor.fill_(255)

    monkeypatch.setattr(batch, "_Staging", Used)
    for found, patch in zip(engine.render(jobs), wanted, strict=True):
        assert same(found, patch)


def test_the_sound_moves_the_mouth(engine, avatar):
    first, second = engine.render(
        [RenderJob(avatar, "idle_0", 0, picture(), features_of(engine, seed)) for seed in (1, 2)]
    )
    assert not same(first, second)


def test_memory_running_short_makes_batches_smaller(engine, avatar, monkeypatch):
    runner = engine.nets.loaded.runner
    monkeypatch.setattr(runner, "buckets", (1, 2, 4))
    monkeypatch.setattr(runner, "milliseconds", {})
    sizes = []
    right = type(runner).predict

    def short(self, latents, tokens):
        sizes.append(len(latents))
        if len(latents) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return right(self, latents, tokens)

    monkeypatch.setattr(type(runner), "predict", short)
    jobs = [job(engine, avatar, seed=n) for n in range(3)]
    patches = engine.render(jobs)
    assert all(patch is not None for patch in patches)
    assert sizes == [4, 2, 1, 1, 1]
    assert runner.buckets == (1,)


def test_memory_for_not_even_one_is_an_error_of_its_own(engine, avatar, monkeypatch):
    runner = engine.nets.loaded.runner
    monkeypatch.setattr(runner, "buckets", (1, 2))

    def short(self, latents, tokens):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(runner), "predict", short)
    with pytest.raises(EngineOutOfMemory, match="too small for one picture"):
        engine.render([job(engine, avatar)])


def test_numbers_that_overflow_show_the_source_picture(engine, avatar, monkeypatch):
    runner = engine.nets.loaded.runner
    monkeypatch.setattr(runner, "milliseconds", {})
    right = type(runner).decode

    def overflow(self, hidden):
        pixels, is_finite = right(self, hidden)
        return pixels, is_finite & (torch.arange(len(hidden)) != 1)

    monkeypatch.setattr(type(runner), "decode", overflow)
    patches = engine.render([job(engine, avatar, seed=n) for n in range(3)])
    assert [patch is None for patch in patches] == [False, True, False]


def test_a_device_that_failed_comes_back(avatar, monkeypatch):
    engine = MuseTalkEngine(WEIGHTS, device="cpu", max_batch=1)
    engine.load()
    the_job = job(engine, avatar)
    runner = type(engine.nets.loaded.runner)
    with monkeypatch.context() as broken:

        def lost(self, latents, tokens):
            raise RuntimeError("CUDA error: the driver stumbled\nmore lines")

        broken.setattr(runner, "predict", lost)
        with pytest.raises(EngineError, match=r"device failed \(CUDA error: the driver stumbled\)"):
            engine.render([the_job])
    with pytest.raises(EngineError, match="coming back"):
        engine.render([the_job])
    assert not engine.state().is_healthy
    monkeypatch.setattr(recovery, "RETRY_AFTER_S", 0.0)
    assert engine.render([the_job])[0] is not None
    assert engine.state().is_healthy


def test_a_device_that_does_not_come_back_is_given_up(engine, avatar, monkeypatch):
    the_job = job(engine, avatar)
    monkeypatch.setattr(recovery, "RETRY_AFTER_S", 0.0)
    tries = []

    def still_broken(read, **kwargs):
        tries.append(read)
        raise RuntimeError("CUDA error: no CUDA-capable device is detected")

    monkeypatch.setattr(loaded_nets, "load_nets", still_broken)
    broken = MuseTalkEngine(WEIGHTS, device="cpu")
    broken.nets.fail(RuntimeError("CUDA error: the driver stumbled"))
    for _ in range(recovery.MOST_TRIES):
        assert not broken.state().is_lost
        with pytest.raises(EngineError, match="no CUDA-capable"):
            broken.render([the_job])
    assert broken.state().is_lost
    with pytest.raises(EngineError, match="restarted"):
        broken.render([the_job])
    assert len(tries) == recovery.MOST_TRIES


def test_loading_measures_what_the_engine_carries(engine, monkeypatch):
    nets = engine.nets.loaded
    assert set(nets.milliseconds) == {1, 2}
    assert engine.max_batch == 2
    assert engine.capacity == nets.sessions(32.0)
    monkeypatch.setattr(nets.runner, "milliseconds", {1: 9.0, 2: 11.0})
    assert engine.capacity == 5
    assert nets.sessions(0.0) == 0


@pytest.mark.parametrize(
    ("device", "message"),
    [("cuda", "no usable GPU"), ("mps", "no Metal GPU"), ("toaster", "no device that torch")],
)
def test_a_device_that_is_not_there_is_named(device, message):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(EngineUnavailable, match=message):
        loaded_nets.find_device(device)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(EngineUnavailable, match=r"musetalkV15/unet"):
        MuseTalkEngine(tmp_path, device="cpu").load()


_OVAL = 128


@pytest.fixture
def prepared(engine, tmp_path):
    folder = tmp_path / "someone"
    manifest = make_avatar(folder, clips={"idle_0": 4, "speaking_0": 3})
    for entry in manifest.clips:
        meshes = np.stack([mesh_of_a_face((256 + n, 250)) for n in range(entry.frames)])
        meshes[1] = np.nan
        np.save(folder / "clips" / f"{entry.name}.landmarks.npy", meshes)
    avatar = engine.open_avatar(folder, manifest)
    engine.preparation.join(60)
    return folder, manifest, avatar


def test_clips_are_prepared_beside_the_stream_and_found_again(engine, prepared):
    folder, manifest, avatar = prepared
    assert set(avatar.clips) == {"idle_0", "speaking_0"}
    again = MuseTalkEngine(WEIGHTS, device="cpu").open_avatar(folder, manifest)
    for name, faces in again.clips.items():
        assert isinstance(faces.latents, np.memmap)
        assert (faces.latents == avatar.clips[name].latents).all()
    about = json.loads((folder / "musetalk/idle_0/about.json").read_text())
    assert about == {"avatar_version": "1", "mask_source": "oval", "format": 1}
    assert sorted(path.name for path in (folder / "musetalk").iterdir()) == ["idle_0", "speaking_0"]


def test_a_damaged_clip_is_the_avatars_fault(engine, prepared):
    folder, manifest, _ = prepared
    for content in ("{", "[]", "0"):
        (folder / "musetalk/idle_0/about.json").write_text(content)
        with pytest.raises(AvatarInvalid, match=r"about\.json"):
            engine.open_avatar(folder, manifest)


@pytest.mark.parametrize("when", ["while it waits", "while it is prepared"])
def test_a_clip_of_a_version_that_was_replaced_is_not_kept(engine, tmp_path, when):
    folder = tmp_path / "someone"
    former = make_avatar(folder, clips={"idle_0": 3})
    meshes = folder / "clips" / "idle_0.landmarks.npy"
    np.save(meshes, np.stack([mesh_of_a_face()] * 3))

    def replaced(done=0, _count=0):
        if done == 0:
            shutil.rmtree(folder / "clips")
            make_avatar(folder, clips={"idle_0": 3}, version="2")
            np.save(meshes, np.stack([mesh_of_a_face()] * 3))

    if when == "while it waits":
        replaced()
    preparer = engine.nets.loaded.preparer
    progress = None if when == "while it waits" else replaced
    with pytest.raises(AvatarInvalid, match="was replaced: 2, and not 1"):
        prepare_clip(folder, former, former.clips[0], preparer, progress)
    assert read_clip(folder, "idle_0", 3, "1") is None


def test_where_it_is_slow_a_clip_is_prepared_when_it_is_to_speak(engine, tmp_path, monkeypatch):
    folder = tmp_path / "someone"
    manifest = make_avatar(folder, clips={"idle_0": 3, "speaking_0": 3})
    for name in ("idle_0", "speaking_0"):
        np.save(folder / "clips" / f"{name}.landmarks.npy", np.stack([mesh_of_a_face()] * 3))
    monkeypatch.setattr(engine, "_prepares", None)  # what a CPU does by default
    avatar = engine.open_avatar(folder, manifest)
    assert engine.state() == EngineState()
    assert engine.render([job(engine, avatar, weight=0.0)]) == [None]
    assert set(avatar.offered) == {"idle_0", "speaking_0"}
    [waiting] = engine.render([job(engine, avatar)])
    assert waiting == RenderRefusal("idle_0 waits to be prepared")
    engine.preparation.join(60)
    assert set(avatar.clips) == {"idle_0"}
    assert set(avatar.offered) == {"speaking_0"}
    [patch] = engine.render([job(engine, avatar)])
    assert isinstance(patch, Patch)


def test_preparing_tells_how_far_it_is_and_why_it_fails(monkeypatch):
    monkeypatch.setattr(background, "RETRY_AFTER_S", 0.0)
    told = []
    preparation = background.BackgroundPreparation()
    avatar = MuseTalkAvatar("me", {})

    def halfway(progress):
        progress(1, 2)
        told.append((preparation.status, preparation.prioritize(avatar, "idle_0")))
        raise EngineOutOfMemory("the device's memory is too small")

    def never(progress):
        raise AvatarInvalid("landmarks are missing")

    preparation.submit(
        [background.Task(avatar, "idle_0", halfway), background.Task(avatar, "idle_1", never)]
    )
    preparation.join(10)
    assert told[0] == (
        "Preparing idle_0 of me: 1 of 2 pictures, 1 clip waits.",
        "idle_0 is being prepared: 1 of 2 pictures",
    )
    assert len(told) == background.MOST_TRIES
    assert preparation.status == ""
    assert preparation.prioritize(avatar, "idle_0").endswith("memory is too small")
    assert preparation.prioritize(avatar, "idle_1") == (
        "idle_1 could not be prepared: landmarks are missing"
    )


def test_a_picture_without_a_face_shifts_no_other(prepared):
    _, _, avatar = prepared
    faces = avatar.clips["idle_0"]
    assert [faces.has_face(n) for n in range(4)] == [True, False, True, True]
    assert faces.box(2).x1 - faces.box(0).x1 == 2
    assert faces.box(3).x1 - faces.box(0).x1 == 3
    assert not faces.latents[1].any()
    for index in (0, 2, 3):
        patch, box = faces.patch(index), faces.box(index)
        blur = 0.05 * crop_box(box).width + 2
        assert (box.y1 + box.y2) // 2 - blur <= patch.y <= (box.y1 + box.y2) // 2
        assert faces.mask(index).max() == 255


def test_a_prepared_avatar_speaks(engine, prepared):
    _, _, avatar = prepared
    samples = speech_like(30 * SAMPLES_PER_FRAME)
    [[features]] = engine.listen([window(engine, samples, 5)])
    jobs = [RenderJob(avatar, "idle_0", n, picture(), features) for n in range(4)]
    assert [patch is None for patch in engine.render(jobs)] == [False, True, False, False]


def test_another_version_of_the_avatar_is_prepared_again(engine, prepared):
    import msgspec

    folder, manifest, _ = prepared
    newer = msgspec.structs.replace(manifest, version="2")
    manifests.write(folder, newer)
    assert MuseTalkEngine(WEIGHTS, prepares="none").open_avatar(folder, newer).clips == {}
    engine.open_avatar(folder, newer)
    engine.preparation.join(60)
    again = MuseTalkEngine(WEIGHTS, prepares="none").open_avatar(folder, newer)
    assert set(again.clips) == {"idle_0", "speaking_0"}


def test_clips_of_a_shipped_avatar_are_kept_with_peoples_own(engine, tmp_path, monkeypatch):
    shipped, own = tmp_path / "shipped" / "presenter", tmp_path / "avatars"
    manifest = make_avatar(shipped, clips={"idle_0": 2})
    np.save(shipped / "clips/idle_0.landmarks.npy", np.stack([mesh_of_a_face()] * 2))
    before = sorted(shipped.rglob("*"))
    monkeypatch.setattr(engine, "_storage", own)
    engine.open_avatar(shipped, manifest)
    engine.preparation.join(60)
    assert sorted(shipped.rglob("*")) == before
    assert (own / ".musetalk/presenter/musetalk/idle_0/latents.npy").is_file()
    again = MuseTalkEngine(WEIGHTS, prepares="none", storage=own).open_avatar(shipped, manifest)
    assert set(again.clips) == {"idle_0"}
    assert kept_in(own / "me", own) == own / "me"


def test_damaged_files_are_refused(prepared):
    folder, manifest, _ = prepared
    path = folder / "musetalk/idle_0/latents.npy"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(AvatarInvalid, match="idle_0"):
        MuseTalkEngine(WEIGHTS, prepares="none").open_avatar(folder, manifest)


def test_a_clip_without_meshes_is_looked_at_and_shown_as_it_is_where_no_face_is(engine, tmp_path):
    folder = tmp_path / "landscape"
    manifest = make_avatar(folder, clips={"idle_0": 2})
    avatar = engine.open_avatar(folder, manifest)
    engine.preparation.join(60)
    assert not avatar.clips["idle_0"].has_face(0)
    assert engine.render([job(engine, avatar)]) == [None]


def test_the_meshes_of_a_drawn_face_are_found_and_those_of_nobody_are_nan():
    import cv2

    faces = [draw_face(x=x) for x in (250, 256)]
    drawn = [np.asarray(cv2.cvtColor(face, cv2.COLOR_RGB2YUV_I420), np.uint8) for face in faces]
    nobody = np.full((768, 512), 128, np.uint8)
    found = list(find_meshes([drawn[0], nobody, drawn[1]]))
    meshes = np.stack([mesh for _, mesh in found])
    assert meshes.shape == (3, 468, 2)
    assert np.isnan(meshes[1]).all()
    assert np.median(meshes[2, :, 0] - meshes[0, :, 0]) == pytest.approx(6, abs=2)
