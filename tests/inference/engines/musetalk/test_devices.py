"""Nothing is left on the CPU, and nothing in the wrong precision, where a GPU does the work.

No GPU is needed: shapes of the published size run on the meta device, see `strict_device`.
"""

from contextlib import nullcontext

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from inference.engines.musetalk import devices
from inference.engines.musetalk.audio import mel
from inference.engines.musetalk.audio.speech import StreamingWindow
from inference.engines.musetalk.execution.batch import FaceJob, Renderer
from inference.engines.musetalk.execution.hearing import Hearing
from inference.engines.musetalk.execution.runner import Runner
from inference.engines.musetalk.face import device_blend as pasting
from inference.engines.musetalk.loaded import LoadedModel
from inference.engines.musetalk.nets import (
    face_parsing,
    tiny_decoder,
    unet,
    vae,
    whisper,
)
from inference.engines.musetalk.networks import Networks
from inference.engines.musetalk.prepare.avatar import FaceClip
from inference.engines.musetalk.prepare.preparation import ClipPreparer
from inference.errors import EngineUnavailable
from inference.media.types import AudioContext, AudioWindow
from tests.inference.engines.musetalk.strict_device import DEVICE, RefusedHere, StrictDevice

pytestmark = pytest.mark.lasting

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
CONTEXT = AudioContext(32_000, 1_488)


def published_nets(dtype, *, tiny=False, parser=True):
    """Of the published shapes, without weights, placed as the engine places them."""
    with DEVICE:
        nets = Networks(
            whisper=whisper.WhisperEncoder(whisper.WhisperShape()),
            unet=unet.UNet(unet.UNetShape()),
            decoder=tiny_decoder.TinyDecoder() if tiny else vae.Decoder(vae.VaeShape()),
            encoder=vae.Encoder(vae.VaeShape()),
            face_parsing=face_parsing.BiSeNet() if parser else None,
        )
    for net in (nets.whisper, nets.unet, nets.decoder, nets.encoder, nets.face_parsing):
        if net is not None:
            net.eval().requires_grad_(False)
    return nets.to(DEVICE, dtype)


@pytest.fixture(scope="module")
def half():
    return published_nets(torch.float16)


def loaded(nets, dtype):
    runner = Runner(nets, DEVICE, dtype, buckets=(1, 4), records=False)
    return LoadedModel(
        nets=nets,
        device=DEVICE,
        runner=runner,
        renderer=Renderer(runner, nets.width),
        preparer=ClipPreparer(nets.encoder, nets.face_parsing, DEVICE),
        hearing=Hearing(
            nets.whisper,
            StreamingWindow(before=CONTEXT.before, after=CONTEXT.after),
            DEVICE,
            buckets=runner.buckets,
        ),
        live=nullcontext,
        beside=nullcontext,
    )


def batch_on_device(runner, count=2):
    return runner._inputs(count)


@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_way_that_is_recorded_stays_on_the_device(dtype, tiny):
    """No copy, no number read back: a recording would break off."""
    nets = published_nets(dtype, tiny=tiny)
    runner = Runner(nets, DEVICE, dtype, buckets=(2,), records=False)
    inputs = batch_on_device(runner)
    with torch.inference_mode(), StrictDevice() as watched:
        pixels, is_finite = runner.plain(*inputs)
    assert watched.operations > 200
    assert watched.copies == []
    assert (pixels.shape, pixels.dtype) == ((2, 3, 256, 256), torch.uint8)
    assert pixels.device == is_finite.device == DEVICE


@pytest.mark.parametrize("dtype", DTYPES)
def test_from_jobs_to_patches(dtype):
    nets = loaded(published_nets(dtype, parser=False), dtype)
    faces = FaceClip(
        np.zeros((1, 8, 32, 32), np.float16),
        np.zeros((1, 90, 120), np.uint8),
        np.array([[10, 20, 200, 220, 30, 120, 120, 90]], np.int32),
    )
    picture = np.zeros((384, 256), np.uint8)
    tokens = np.zeros((50, 384), np.float32)
    with StrictDevice() as watched:
        queued = nets.renderer.queue([FaceJob(faces, 0, picture, tokens, 1.0)] * 3)
    assert queued.luma.shape == (3, 128, 128)
    # Latents and tokens, five tensors to paste with; luma, chroma and flags back.
    assert len(watched.copies) == 10


def test_pasting_waits_for_nothing():
    """Whatever it has to bring to the device first would wait for the nets that are queued."""
    size = (2, 64, 128)
    with DEVICE:
        batch = pasting.PatchBatch(
            torch.zeros(2, 4),
            torch.zeros(size, dtype=torch.uint8),
            torch.zeros(size, dtype=torch.uint8),
            torch.zeros((2, 2, 32, 64), dtype=torch.uint8),
            torch.zeros(2),
        )
        faces = torch.zeros(2, 3, 256, 256, dtype=torch.uint8)
    pasting.paste(faces, batch)
    with StrictDevice() as watched:
        luma, chroma = pasting.paste(faces, batch)
    assert watched.copies == []
    assert luma.dtype == chroma.dtype == torch.uint8
    batch.geometry = torch.zeros(2, 4)
    with pytest.raises(RefusedHere), StrictDevice():
        pasting.paste(faces, batch)


@pytest.mark.parametrize("frames", [1, 3])
def test_hearing(half, frames):
    nets = loaded(half, torch.float16)
    samples = np.zeros(CONTEXT.before + frames * 640 + CONTEXT.after, np.float32)
    with StrictDevice() as watched:
        heard = nets.hearing.tokens([AudioWindow(samples, frames)] * 3)
    assert [one.shape for one in heard] == [(frames, 50, 384)] * 3
    assert heard[0].dtype == np.float32
    assert 2 <= len(watched.copies) <= 3  # the sound, the tokens, once the filter bank


def test_the_hearing_that_is_recorded_stays_on_the_device(half):
    hearing = loaded(half, torch.float16).hearing
    samples = hearing._noise(4)[0]
    hearing._heard(samples)  # brings the filter bank
    with torch.inference_mode(), StrictDevice() as watched:
        tokens = hearing._heard(samples)[0]
    assert watched.copies == []
    assert (tokens.shape, tokens.dtype) == ((4, 1, 50, 384), torch.float32)


def test_preparing(half):
    preparer = ClipPreparer(half.encoder, half.face_parsing, DEVICE)
    points = np.zeros((468, 2), np.float32)
    points[:] = (128, 120)
    points[:4] = [(80, 60), (180, 60), (80, 190), (180, 190)]
    with StrictDevice() as watched:
        faces = preparer.prepare([(np.full((384, 256), 128, np.uint8), points)] * 2, 2)
    assert (faces.latents.shape, faces.latents.dtype) == ((2, 8, 32, 32), np.float16)
    assert half.encoder.conv_in.weight.dtype == torch.float16
    # Faces and squares there, latents and parts back; once what squares are normalized by.
    assert 4 <= len(watched.copies) <= 6


def left_on_the_cpu(nets):
    nets.unet.conv_out.to_empty(device="cpu")


def decoder_in_single(nets):
    nets.decoder.float()


def a_norm_in_single(nets):
    nets.decoder.mid_block.resnets[0].norm1.float()


def attention_in_single(nets):
    nets.unet.mid_attention.block.attn2.to_kv.float()


@pytest.mark.parametrize(
    "mistake", [left_on_the_cpu, decoder_in_single, a_norm_in_single, attention_in_single]
)
def test_a_mistake_is_seen(mistake):
    nets = published_nets(torch.float16)
    mistake(nets)
    runner = Runner(nets, DEVICE, torch.float16, buckets=(1,), records=False)
    with pytest.raises(RuntimeError), torch.inference_mode(), StrictDevice():
        runner.plain(*batch_on_device(runner, 1))


def test_mistakes_in_hearing_are_seen(half, monkeypatch):
    nets = loaded(half, torch.float16)
    samples = np.zeros(CONTEXT.before + 640 + CONTEXT.after, np.float32)
    monkeypatch.setattr(mel, "_bank_on", lambda device: torch.from_numpy(mel.filter_bank()))
    with pytest.raises(RefusedHere), StrictDevice():
        nets.hearing.tokens([AudioWindow(samples, 1)])


def test_sound_in_half_precision_is_not_transformed_so():
    """cuFFT has no half precision for windows of 400."""
    with StrictDevice():
        assert mel.log_mel(torch.zeros(1, 3_200, device=DEVICE).half()).dtype == torch.float32


@pytest.mark.parametrize(
    ("error", "is_short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_memory_that_is_short_is_known_by_its_words(error, is_short):
    assert devices.is_out_of_memory(error) is is_short


def test_an_engine_can_be_kept_from_taking_all_memory(monkeypatch):
    shares = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 24_000_000_000))
    monkeypatch.setattr(
        torch.cuda,
        "set_per_process_memory_fraction",
        lambda share, device: shares.append((share, str(device))),
    )
    devices.limit_memory(torch.device("cuda:1"), 6)
    devices.limit_memory(torch.device("cuda:0"), 80)
    devices.limit_memory(torch.device("cpu"), 6)
    wanted = (6 - devices.OUTSIDE_TORCH_GB) / 24  # the rest is CUDA's own
    assert shares == [(pytest.approx(wanted), "cuda:1"), (1.0, "cuda:0")]
    with pytest.raises(EngineUnavailable, match=r"MUSETALK_MEMORY_GB=0\.5 .*set 4 or more"):
        devices.limit_memory(torch.device("cuda:0"), 0.5)
