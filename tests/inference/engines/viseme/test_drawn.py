"""The drawn mouth, on the shipped presenter: continuous, seamless, and it says what it should."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.score import lip_gap
from inference.assets import manifest as manifests
from inference.engines.viseme.renderers.drawn import DrawnMouth
from inference.engines.viseme.shape import MouthShape
from inference.errors import AvatarInvalid
from inference.faces.mesh import FaceMesh
from inference.media.types import Patch, Picture
from tests.drawn_face import to_rgb

PRESENTER = Path(__file__).parents[4] / "avatars_app" / "presenter"
CLIP = "speaking_0"

unit = st.floats(0, 1)
shapes = st.builds(
    MouthShape,
    open=unit,
    wide=st.floats(-1, 1),
    round=unit,
    press=unit,
    tuck=unit,
    teeth=unit,
    tongue=unit,
    jaw=st.floats(-1, 1),
)


@pytest.fixture(scope="module")
def drawn() -> DrawnMouth:
    return DrawnMouth.open(PRESENTER, manifests.read(PRESENTER))


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """The first second of the clip."""
    clip = next(c for c in manifests.read(PRESENTER).clips if c.name == CLIP)
    coded = (PRESENTER / "clips" / f"{CLIP}.h264").read_bytes()
    decoder = av.CodecContext.create("h264", "r")
    ends = np.cumsum(clip.sizes)[:25]
    frames = [
        frame
        for end, size in zip(ends, clip.sizes, strict=False)
        for frame in decoder.decode(av.Packet(coded[end - size : end]))
    ]
    return [
        np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)
        for frame in [*frames, *decoder.decode(None)]
    ]


def pasted(picture: Picture, patch: Patch | None) -> Picture:
    shown = picture.copy()
    if patch is not None:
        height, width = patch.y_plane.shape
        shown[patch.y : patch.y + height, patch.x : patch.x + width] = patch.y_plane
        chroma = shown[512:].reshape(2, 256, 256)
        rows = slice(patch.y // 2, (patch.y + height) // 2)
        columns = slice(patch.x // 2, (patch.x + width) // 2)
        chroma[0, rows, columns] = patch.u_plane
        chroma[1, rows, columns] = patch.v_plane
    return shown


def luma_change(first: Picture, second: Picture) -> np.ndarray:
    return np.abs(first[:512].astype(int) - second[:512])


def test_the_closed_mouth_needs_no_patch(drawn: DrawnMouth, pictures: list[Picture]) -> None:
    assert drawn.render(CLIP, 0, pictures[0], MouthShape()) is None
    assert drawn.render(CLIP, 0, pictures[0], MouthShape(teeth=1.0)) is None


@settings(max_examples=25)
@given(shape=shapes, index=st.integers(0, 24))
def test_patches_are_even_and_inside_the_picture(
    drawn: DrawnMouth, pictures: list[Picture], shape: MouthShape, index: int
) -> None:
    patch = drawn.render(CLIP, index, pictures[index], shape)
    if patch is None:
        return
    height, width = patch.y_plane.shape
    assert not any(value % 2 for value in (patch.x, patch.y, width, height))
    assert patch.x >= 0 <= patch.y
    assert patch.x + width <= 512 >= patch.y + height
    for plane in (patch.u_plane, patch.v_plane):
        assert plane.shape == (height // 2, width // 2)
        assert plane.dtype == np.uint8


@settings(max_examples=25)
@given(shape=shapes, index=st.integers(0, 24))
@example(shape=MouthShape(open=1.0, wide=-1.0, round=1.0, press=0.6, tuck=1.0), index=9)
@example(shape=MouthShape(wide=1.0), index=17)
def test_the_patch_has_no_edge(
    drawn: DrawnMouth, pictures: list[Picture], shape: MouthShape, index: int
) -> None:
    shown = pasted(pictures[index], drawn.render(CLIP, index, pictures[index], shape))
    patch = drawn.render(CLIP, index, pictures[index], shape)
    if patch is None:
        return
    change = luma_change(shown, pictures[index])
    height, width = patch.y_plane.shape
    box = change[patch.y : patch.y + height, patch.x : patch.x + width]
    rim = np.concatenate([box[0], box[-1], box[:, 0], box[:, -1]])
    assert rim.max() <= 2


@settings(max_examples=40)
@given(first=shapes, second=shapes)
def test_a_small_step_of_the_shape_is_a_small_step_of_the_picture(
    drawn: DrawnMouth, pictures: list[Picture], first: MouthShape, second: MouthShape
) -> None:
    nearby = MouthShape(*(a + 0.02 * (b - a) for a, b in zip(first, second, strict=True)))
    shown = [
        pasted(pictures[0], drawn.render(CLIP, 0, pictures[0], shape)) for shape in (first, nearby)
    ]
    change = luma_change(*shown)[236:384, 160:352]
    assert change.mean() < 1.5


def test_lips_close_by_themselves_and_the_chin_does_not_follow(
    drawn: DrawnMouth, pictures: list[Picture]
) -> None:
    shut, talking = (
        pasted(pictures[0], drawn.render(CLIP, 0, pictures[0], MouthShape(press=1.0, jaw=jaw)))
        for jaw in (0.0, 0.4)
    )
    alone = luma_change(shut, pictures[0])
    change = luma_change(talking, shut)
    below = np.flatnonzero(alone.max(1) > 12).max() + 4
    assert change[below:].max() > 12
    assert change[below:].max() > 2 * alone[below:].max()


@pytest.mark.parametrize("name", MouthShape._fields)
def test_speech_begins_from_the_picture_itself(
    drawn: DrawnMouth, pictures: list[Picture], name: str
) -> None:
    shape = MouthShape(**{name: 0.012})
    shown = pasted(pictures[3], drawn.render(CLIP, 3, pictures[3], shape))
    assert luma_change(shown, pictures[3]).max() <= 12


def test_only_the_lower_face_changes(drawn: DrawnMouth, pictures: list[Picture]) -> None:
    shown = pasted(pictures[0], drawn.render(CLIP, 0, pictures[0], MouthShape(open=1.0, teeth=1.0)))
    changed = np.argwhere(luma_change(shown, pictures[0]) > 4)
    top, left = changed.min(axis=0)
    bottom, right = changed.max(axis=0)
    assert top > 235
    assert bottom < 390
    assert left > 165
    assert right < 345


def test_a_face_mesh_reads_the_opening_off_the_picture(
    drawn: DrawnMouth, pictures: list[Picture]
) -> None:
    mesh = FaceMesh()
    wanted, seen = [], []
    for index, picture in enumerate(pictures):
        opening = 0.5 - 0.5 * np.cos(index * 0.7)
        patch = drawn.render(CLIP, index, picture, MouthShape(open=opening, teeth=0.6))
        face = mesh.find(to_rgb(pasted(picture, patch)))
        assert face is not None
        wanted.append(opening)
        seen.append(lip_gap(face))
    assert np.corrcoef(wanted, seen)[0, 1] > 0.9
    assert max(seen) > 5 * min(seen)


def test_an_opening_looks_as_large_as_it_is(drawn: DrawnMouth, pictures: list[Picture]) -> None:
    """Small openings too, and in pursed lips as in plain ones."""
    mesh = FaceMesh()

    def gap(shape: MouthShape) -> float:
        shown = pasted(pictures[0], drawn.render(CLIP, 0, pictures[0], shape))
        mesh.forget()
        face = mesh.find(to_rgb(shown))
        assert face is not None
        return lip_gap(face)

    shut, wide_open = gap(MouthShape()), gap(MouthShape(open=0.9, teeth=0.4))
    for opening in (0.1, 0.2, 0.3, 0.45, 0.6):
        plain = (gap(MouthShape(open=opening, teeth=0.4)) - shut) / (wide_open - shut) * 0.9
        assert plain == pytest.approx(opening, rel=0.15, abs=0.06)
    pursed = gap(MouthShape(open=0.3, wide=-0.8, round=1.0))
    assert pursed == pytest.approx(gap(MouthShape(open=0.3, teeth=0.4)), rel=0.35)


def test_a_tucked_lip_hides_behind_the_teeth_alone(
    drawn: DrawnMouth, pictures: list[Picture]
) -> None:
    """However open the mouth: no second lip shines through."""

    def shown(opening: float) -> Picture:
        shape = MouthShape(open=opening, tuck=1.0, teeth=0.6)
        return pasted(pictures[0], drawn.render(CLIP, 0, pictures[0], shape))

    assert luma_change(shown(0.2), shown(0.9)).max() < 12


def test_rounding_purses_and_spreading_widens(drawn: DrawnMouth, pictures: list[Picture]) -> None:
    mesh = FaceMesh()

    def width(shape: MouthShape) -> float:
        shown = pasted(pictures[0], drawn.render(CLIP, 0, pictures[0], shape))
        mesh.forget()
        face = mesh.find(to_rgb(shown))
        assert face is not None
        return float(np.linalg.norm(face.landmarks[61] - face.landmarks[291]))

    rest = width(MouthShape(open=0.3))
    assert width(MouthShape(open=0.3, round=1.0)) < 0.9 * rest
    assert width(MouthShape(open=0.3, wide=1.0)) > 1.03 * rest


def test_threads_do_not_disturb_each_other(drawn: DrawnMouth, pictures: list[Picture]) -> None:
    wanted = [MouthShape(open=k / 20, round=1 - k / 20, teeth=0.5) for k in range(1, 20)]

    def draw(shape: MouthShape) -> bytes:
        patch = drawn.render(CLIP, 1, pictures[1], shape)
        assert patch is not None
        return patch.y_plane.tobytes() + patch.u_plane.tobytes() + patch.v_plane.tobytes()

    alone = [draw(shape) for shape in wanted]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draw, wanted)) == alone


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """A copy of the folder without its clips, to be spoilt."""
    folder = tmp_path / "presenter"
    shutil.copytree(PRESENTER, folder, ignore=shutil.ignore_patterns("clips"))
    return folder


@pytest.mark.parametrize("name", ["atlas.json", "lips.npy", f"{CLIP}.npy"])
def test_a_missing_file_is_reported(spoilt: Path, name: str) -> None:
    (spoilt / "viseme" / name).unlink()
    with pytest.raises(AvatarInvalid):
        DrawnMouth.open(spoilt, manifests.read(spoilt))


def test_a_truncated_atlas_is_reported(spoilt: Path) -> None:
    lips = np.load(spoilt / "viseme/lips.npy")
    np.save(spoilt / "viseme/lips.npy", lips[:-1])
    with pytest.raises(AvatarInvalid, match="does not fit its axes"):
        DrawnMouth.open(spoilt, manifests.read(spoilt))


def test_placements_must_be_as_many_as_frames(spoilt: Path) -> None:
    placements = np.load(spoilt / f"viseme/{CLIP}.npy")
    np.save(spoilt / f"viseme/{CLIP}.npy", placements[:-1])
    with pytest.raises(AvatarInvalid, match="one placement a frame"):
        DrawnMouth.open(spoilt, manifests.read(spoilt))
