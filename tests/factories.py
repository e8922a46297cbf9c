"""Small avatars, made when a test wants one."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from inference.assets import manifest as manifests
from inference.assets.manifest import ClipEntry, ClipState, Manifest, ProfileEntry
from inference.media.encoder import Encoder, codec_string, is_idr
from inference.media.profile import DEFAULT_PROFILE
from inference.media.types import Picture

CLIPS: Mapping[str, int] = {"idle_0": 60, "idle_1": 50, "speaking_0": 50, "action_1": 40}
"""Clips of the usual test avatar, and their frames."""


def picture(clip: str, index: int) -> Picture:
    """A picture that tells by its luma which clip and index it is, without a mouth."""
    luma = 60 + 25 * sorted(CLIPS).index(clip)
    image = np.full((768, 512), 128, np.uint8)
    image[:512] = luma
    image[20:60, 8 * index % 440 : 8 * index % 440 + 40] = 220
    return image


def make_avatar(
    folder: Path,
    clips: Mapping[str, int] = CLIPS,
    exits: Mapping[str, list[int]] | None = None,
    name: str = "test",
    version: str = "1",
) -> Manifest:
    """Write an asset folder with these clips and frames; exits every 25 frames unless given."""
    (folder / "clips").mkdir(parents=True)
    entries = []
    codec = ""
    for clip, frames in clips.items():
        encoder = Encoder(DEFAULT_PROFILE)
        units = [encoder.encode(picture(clip, index)) for index in range(frames)]
        (folder / "clips" / f"{clip}.h264").write_bytes(b"".join(units))
        codec = codec_string(units[0])
        entries.append(
            ClipEntry(
                name=clip,
                state=_state(clip),
                sizes=[len(unit) for unit in units],
                idr=[index for index, unit in enumerate(units) if is_idr(unit)],
                exits=(exits or {}).get(clip) or sorted({*range(25, frames, 25), frames}),
            )
        )
    profile = {field: getattr(DEFAULT_PROFILE, field) for field in _PROFILE_FIELDS}
    manifest = Manifest(
        format=manifests.FORMAT,
        version=version,
        name=name,
        renderer="drawn",
        profile=ProfileEntry(**profile, codec=codec),
        clips=entries,
    )
    manifests.write(folder, manifest)
    return manifest


_PROFILE_FIELDS = tuple(DEFAULT_PROFILE.__dataclass_fields__)


def _state(clip: str) -> ClipState:
    return next(state for state in manifests.STATES if clip.startswith(state))


def mesh_of_a_face(center: tuple[float, float] = (256.0, 250.0)) -> "np.ndarray":
    """468 points on an ellipse; the nose bridge in its middle."""
    from inference.engines.musetalk.face.masks import FACE_OVAL

    points = np.zeros((468, 2), np.float32)
    points[:] = center
    angles = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False) - np.pi / 2
    points[list(FACE_OVAL), 0] = center[0] + 80 * np.cos(angles)
    points[list(FACE_OVAL), 1] = center[1] + 110 * np.sin(angles)
    return points
