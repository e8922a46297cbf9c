"""Pasting on the device against the reference's blending, and what the patches are."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from inference.engines.musetalk.execution.batch import canvas_of, region_of
from inference.engines.musetalk.face import latents, masks, reference_blend
from inference.engines.musetalk.face.boxes import Box
from inference.engines.musetalk.face.device_blend import PatchBatch, paste, resized
from inference.engines.musetalk.prepare.avatar import FaceClip
from inference.engines.musetalk.prepare.preparation import patch_of, to_bgr

TO_YUV = (
    np.array(
        [
            [65.481, 128.553, 24.966],
            [-37.797, -74.203, 112.0],
            [112.0, -93.786, -18.214],
        ]
    )
    / 255
)
"""BT.601, limited range, as the standard writes it."""

DATA = Path(__file__).parents[3] / "data" / "musetalk" / "golden"


@pytest.fixture(scope="module")
def vision():
    return dict(np.load(DATA / "vision.npz"))


@pytest.fixture(scope="module")
def picture():
    """The golden picture as the stream has it."""
    frame = cv2.imread(str(DATA / "frame.png"))
    return cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420)


def patches_of(vision, picture, names, strength=1.0):
    """Paste the golden faces as one batch; what comes out, and where."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    boxes = [Box(*map(int, vision[f"{name}_bbox"])) for name in names]
    cut = [
        patch_of(
            box,
            masks.soft_mask(masks.face_region(vision[f"{name}_parse_map"], "jaw"), box),
            width,
            height,
        )
        for name, box in zip(names, boxes, strict=True)
    ]
    rows, columns = canvas_of([patch for patch, _ in cut])
    batch = PatchBatch(
        geometry=torch.tensor(
            [
                (box.width, box.height, patch.x - box.x1, patch.y - box.y1)
                for box, (patch, _) in zip(boxes, cut, strict=True)
            ],
            dtype=torch.float32,
        ),
        masks=torch.zeros(len(names), rows, columns, dtype=torch.uint8),
        luma=torch.zeros(len(names), rows, columns, dtype=torch.uint8),
        chroma=torch.zeros(len(names), 2, rows // 2, columns // 2, dtype=torch.uint8),
        strength=torch.full((len(names),), strength),
    )
    for row, (patch, mask) in enumerate(cut):
        region = region_of(picture, patch)
        batch.masks[row, : patch.height, : patch.width] = torch.from_numpy(mask)
        batch.luma[row, : patch.height, : patch.width] = torch.from_numpy(region.luma)
        batch.chroma[row, :, : patch.height // 2, : patch.width // 2] = torch.from_numpy(
            region.chroma
        )
    bgr = vision["decoded_bgr"][[int(vision["gen_index_for_blend"])] * len(names)]
    faces = torch.from_numpy(bgr[..., ::-1].copy()).permute(0, 3, 1, 2)
    luma, chroma = paste(faces, batch)
    results = []
    for row, (patch, _) in enumerate(cut):
        result = picture.copy()
        region = region_of(result, patch)
        region.luma[:] = luma[row, : patch.height, : patch.width].numpy()
        region.chroma[:] = chroma[row, :, : patch.height // 2, : patch.width // 2].numpy()
        results.append((result, patch, boxes[row]))
    return results


def test_resizing_is_opencvs_within_a_step(vision):
    box = Box(*map(int, vision["inside_bbox"]))
    bgr = vision["decoded_bgr"][0]
    faces = torch.from_numpy(bgr[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    geometry = torch.tensor([[box.width, box.height, 0, 0]], dtype=torch.float32)
    ours = resized(faces, geometry, box.height, box.width)[0].permute(1, 2, 0).flip(-1)
    off = np.abs(ours.numpy() - reference_blend.resize_face(bgr, box).astype(np.float32))
    assert off.max() <= 1
    assert (off > 0).mean() < 0.2  # OpenCV computes in fixed point


def test_pasting_in_i420_is_the_references_blending(vision, picture):
    """Against blending in BGR and converting: what remains is the rounding of two conversions."""
    for (result, patch, box), name in zip(
        patches_of(vision, picture, ["inside", "edge"]), ["inside", "edge"], strict=True
    ):
        face = reference_blend.resize_face(vision["decoded_bgr"][0], box)
        mask = masks.soft_mask(masks.face_region(vision[f"{name}_parse_map"], "jaw"), box)
        wanted = reference_blend.blend(to_bgr(picture), face, box, mask)
        yuv = wanted[..., ::-1].astype(np.float64) @ TO_YUV.T + (16, 128, 128)
        ours = region_of(result, patch)
        rows, columns = patch.height // 2, patch.width // 2
        cut = yuv[patch.y : patch.y + patch.height, patch.x : patch.x + patch.width]
        halves = cut.reshape(rows, 2, columns, 2, 3).mean((1, 3))
        luma_off = np.abs(ours.luma - cut[..., 0])
        chroma_off = np.abs(ours.chroma - np.moveaxis(halves[..., 1:], -1, 0))
        assert luma_off.max() < 3
        assert luma_off.mean() < 0.5
        assert chroma_off.max() < 3
        assert chroma_off.mean() < 0.6
        outside = result.copy()
        region_of(outside, patch).luma[:] = region_of(picture, patch).luma
        region_of(outside, patch).chroma[:] = region_of(picture, patch).chroma
        assert (outside == picture).all()


def test_samples_that_the_mask_leaves_alone_are_exact(vision, picture):
    [(result, patch, box)] = patches_of(vision, picture, ["inside"])
    mask = masks.soft_mask(masks.face_region(vision["inside_parse_map"], "jaw"), box)
    cut = patch_of(box, mask, picture.shape[1], picture.shape[0] * 2 // 3)[1]
    before, after = region_of(picture, patch), region_of(result, patch)
    assert (after.luma != before.luma).any()
    assert (after.luma[cut == 0] == before.luma[cut == 0]).all()
    quiet = cut.reshape(patch.height // 2, 2, patch.width // 2, 2).max((1, 3)) == 0
    assert (after.chroma[:, quiet] == before.chroma[:, quiet]).all()


def test_without_strength_nothing_changes(vision, picture):
    [(result, _, _)] = patches_of(vision, picture, ["inside"], strength=0.0)
    assert (result == picture).all()


def test_a_face_pasted_back_where_it_came_from_is_not_seen(vision, picture):
    """The way from picture to 256x256 and back: geometry, colors and mask at once."""
    box = Box(*map(int, vision["inside_bbox"]))
    own = latents.face_crop(to_bgr(picture), box)
    [(result, patch, _)] = patches_of(vision | {"decoded_bgr": own[None]}, picture, ["inside"])
    before, after = region_of(picture, patch), region_of(result, patch)
    assert np.abs(after.luma.astype(int) - before.luma).mean() < 1.0
    assert np.abs(after.chroma.astype(int) - before.chroma).mean() < 1.5
    [(other, _, _)] = patches_of(vision, picture, ["inside"])
    moved = region_of(other, patch)
    assert np.abs(moved.luma.astype(int) - before.luma).mean() > 10


def test_a_face_does_not_depend_on_its_company(vision, picture):
    together = patches_of(vision, picture, ["inside", "edge"])
    for name, (result, patch, _) in zip(["inside", "edge"], together, strict=True):
        [(alone, _, _)] = patches_of(vision, picture, [name])
        assert (result == alone).all()
        assert all(value % 2 == 0 for value in patch)


def test_a_patch_holds_all_that_blending_changes(vision):
    frame = np.asarray(cv2.imread(str(DATA / "frame.png")), np.uint8)
    for name in ("inside", "edge"):
        box = Box(*map(int, vision[f"{name}_bbox"]))
        mask = masks.soft_mask(masks.face_region(vision[f"{name}_parse_map"], "jaw"), box)
        patch, cut = patch_of(box, mask, frame.shape[1], frame.shape[0])
        black = np.zeros_like(reference_blend.resize_face(vision["decoded_bgr"][0], box))
        odd = frame | np.uint8(1)
        changed = (reference_blend.blend(odd, black, box, mask) != odd).any(-1)
        rows, columns = np.nonzero(changed)
        assert patch.y <= rows.min() < rows.max() < patch.y + patch.height
        assert patch.x <= columns.min() < columns.max() < patch.x + patch.width
        assert cut.shape == (patch.height, patch.width)


def test_a_clip_whose_arrays_do_not_fit_is_refused():
    from inference.errors import AvatarInvalid

    with pytest.raises(AvatarInvalid):
        FaceClip(
            np.zeros((2, 8, 32, 32), np.float16),
            np.zeros((1, 4, 4), np.uint8),
            np.zeros((2, 8), np.int32),
        )
