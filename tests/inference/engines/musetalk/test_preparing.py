"""Clips are prepared a few pictures at a time, in threads, and as if one after the other."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from inference.engines.musetalk.face.boxes import crop_box
from inference.engines.musetalk.face.reference_blend import blend, resize_face
from inference.engines.musetalk.nets import face_parsing, vae
from inference.engines.musetalk.prepare import preparation
from inference.engines.musetalk.prepare.encoding import FaceNets, FacePixels
from inference.engines.musetalk.prepare.preparation import ClipPreparer
from inference.engines.musetalk.prepare.threads import drawn, mapped
from tests.factories import mesh_of_a_face

pytestmark = pytest.mark.lasting

CPU = torch.device("cpu")
COUNT = 11


@pytest.fixture(scope="module")
def nets():
    torch.manual_seed(1)
    encoder = vae.Encoder(vae.VaeShape((8, 8, 16, 16), 8)).eval().requires_grad_(False)
    return encoder, face_parsing.BiSeNet().eval().requires_grad_(False)


def seen(without=(3, 4)):
    """Pictures with meshes; some have no face, and one has it beyond the picture's edge."""
    rng = np.random.default_rng(1)
    for number in range(COUNT):
        picture = rng.integers(16, 235, (768 * 3 // 2, 512), dtype=np.uint8)
        mesh = mesh_of_a_face((256 + 3 * number, 250))
        if number in without:
            mesh = np.full_like(mesh, np.nan)
        if number == COUNT - 1:
            mesh = mesh + 600
        yield picture, mesh


@pytest.mark.parametrize("has_parser", [False, True])
def test_batches_give_what_one_picture_at_a_time_gives(nets, has_parser):
    encoder, parser = nets
    told = []
    found = []
    for batch in (1, 4):
        preparer = ClipPreparer(encoder, parser if has_parser else None, CPU, batch=batch)
        told.clear()
        found.append(preparer.prepare(seen(), COUNT, lambda *done: told.append(done)))
        assert told == [(number + 1, COUNT) for number in range(COUNT)]
    one, four = found
    assert [four.has_face(n) for n in range(COUNT)] == [n not in (3, 4, 10) for n in range(COUNT)]
    assert (one.places == four.places).all()
    assert (one.masks == four.masks).all()
    scale = np.abs(one.latents.astype(np.float32)).mean()
    off = np.abs(one.latents.astype(np.float32) - four.latents)
    assert off.max() <= 0.002 * scale  # products summed in another order, then rounded
    assert not four.latents[3].any()


@pytest.mark.parametrize("center", [(256, 250), (470, 250), (256, 380), (90, 60)])
def test_a_face_that_is_put_back_unchanged_changes_nothing(center):
    """Also one that leaves the picture."""
    down, across = np.mgrid[:512, :512]
    bgr = np.stack([across / 4 + 40, down / 4 + 40, (across + down) / 8 + 60], -1)
    picture = cv2.cvtColor(np.rint(bgr).astype(np.uint8), cv2.COLOR_BGR2YUV_I420)
    found = preparation.find_face((picture, mesh_of_a_face(center)), has_parser=False)
    shown = preparation.to_bgr(picture)
    crop = crop_box(found.box)
    face = resize_face(np.ascontiguousarray(found.pixels.face[..., ::-1]), found.box)
    put_back = blend(shown, face, found.box, np.full((crop.height, crop.width), 255, np.uint8))
    assert np.abs(put_back.astype(int) - shown).max() <= 3


def test_a_fault_in_a_picture_is_the_preparations(nets):
    def broken():
        yield from seen()
        raise OSError("damaged")

    with pytest.raises(OSError, match="damaged"):
        ClipPreparer(nets[0], None, CPU, batch=4).prepare(broken(), COUNT + 1)


def test_pixels_are_kept_no_longer_than_the_nets_need_them(nets, monkeypatch):
    """A megabyte a picture: of a clip of a minute it would be more than the networks take."""
    met = []
    find = preparation.find_face

    def noting(*arguments, **options):
        if (found := find(*arguments, **options)) is not None:
            met.append(weakref.ref(found.pixels.face))
        return found

    monkeypatch.setattr(preparation, "find_face", noting)
    count, most = 40, 0

    def note(done, _count):
        nonlocal most
        most = max(most, sum(face() is not None for face in met))

    def pictures():
        for _ in range(count):
            yield np.full((768 * 3 // 2, 512), 128, np.uint8), mesh_of_a_face((256, 250))

    preparer = ClipPreparer(nets[0], None, CPU, batch=1)
    preparer.prepare(pictures(), count, note)
    assert 0 < most < 20


class Faulty:
    """An encoder that fails for more than so many pictures, or overflows in half precision."""

    def __init__(self, encoder, most=99, *, overflows=False):
        self.encoder, self.most, self.overflows = encoder, most, overflows
        self.asked = []

    def parameters(self):
        return iter([torch.zeros(1, dtype=torch.float16 if self.overflows else torch.float32)])

    def float(self):
        return Faulty(self.encoder)

    def __call__(self, pictures):
        self.asked.append(len(pictures) // 2)
        if len(pictures) > 2 * self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        mean, deviation = self.encoder(pictures.float())
        return (mean / 0, deviation) if self.overflows else (mean, deviation)


def pixels(count):
    rng = np.random.default_rng(2)
    return [
        FacePixels(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8), None) for _ in range(count)
    ]


def test_the_last_batch_is_filled_up(nets):
    faulty = Faulty(nets[0])
    assert len(list(FaceNets(faulty, None, CPU, batch=4).each(pixels(6)))) == 6
    assert faulty.asked == [4, 4]


def test_memory_that_is_short_makes_smaller_batches(nets):
    wanted = [one.latents for one in FaceNets(nets[0], None, CPU, batch=1).each(pixels(10))]
    faulty = Faulty(nets[0], most=1)
    found = [one.latents for one in FaceNets(faulty, None, CPU, batch=4).each(pixels(10))]
    assert (np.stack(found) == np.stack(wanted)).all()
    assert faulty.asked == [4, 2] + 10 * [1]
    with pytest.raises(torch.OutOfMemoryError):
        list(FaceNets(Faulty(nets[0], most=0), None, CPU, batch=4).each(pixels(1)))
    FaceNets(Faulty(nets[0], most=0), None, CPU, batch=4).warm_up()  # no error yet


def test_what_overflows_in_half_precision_is_encoded_in_single(nets):
    wanted = [one.latents for one in FaceNets(nets[0], None, CPU, batch=2).each(pixels(6))]
    found = FaceNets(Faulty(nets[0], overflows=True), None, CPU, batch=2).each(pixels(6))
    assert (np.stack([one.latents for one in found]) == np.stack(wanted)).all()


def test_threads_work_ahead_in_order_and_no_further_than_asked():
    made, threads = [], set()

    def items():
        for number in range(20):
            made.append(number)
            threads.add(threading.current_thread())
            yield number

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(3) as several:
        results = mapped(lambda n: n * n, drawn(items(), one, 2), several, 4)
        assert next(results) == 0
        assert len(made) <= 1 + 4 + 2 + 1
        assert list(results) == [n * n for n in range(1, 20)]
    assert len(threads) == 1
    assert threads != {threading.current_thread()}
