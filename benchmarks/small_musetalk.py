"""A server with MuseTalk's smallest networks, and a person on whom its lips can be seen.

The networks are those of `benchmarks.smallest_nets`, which a CPU runs live. The person is one gray
from edge to edge, so what varies where the mouth is pasted is a mouth.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.folders import ROOT
from benchmarks.server import ServerProcess
from inference.engines.musetalk.prepare.avatar import read_clip
from tests.factories import make_avatar, mesh_of_a_face

PERSON = "gray"
FRAMES = 25
CLIPS = {"idle_0": FRAMES, "speaking_0": FRAMES}
ENVIRONMENT = {
    "ENGINE": "musetalk",
    "MUSETALK_DECODER": "narrow",
    "DEFAULT_AVATAR": PERSON,
}
START_WITHIN_S = 180.0
"""Torch is imported, and every size of a batch measured."""
_MARGIN = 20
_LEAST_DEVIATION = 5.0


@dataclass(frozen=True, slots=True)
class Mouth:
    """Where the mouth of the gray person is."""

    rows: slice
    columns: slice

    def is_in(self, luma: NDArray[np.uint8]) -> bool:
        """Whether a decoded picture shows one."""
        return bool(luma[self.rows, self.columns].std() > _LEAST_DEVIATION)


def small_musetalk(mouths: list[Mouth], **environment: str) -> ServerProcess:
    """A server whose default avatar is the gray person, prepared before it starts.

    Args:
        mouths: Receives where its mouth is.
        environment: More settings.
    """
    server = ServerProcess(**ENVIRONMENT, **environment)
    server.start_timeout_s = START_WITHIN_S
    server.before_start = partial(_make_person, mouths)
    return server


def _make_person(mouths: list[Mouth], environment: dict[str, str]) -> None:
    folder = Path(environment["AVATARS_DIR"]) / PERSON
    environment["MODEL_PATH"] = str(Path(environment["AVATARS_DIR"]).parent / "models")
    subprocess.run(
        [sys.executable, "-m", "benchmarks.rule_tree", environment["MODEL_PATH"], "--smallest"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    shutil.rmtree(folder, ignore_errors=True)
    make_avatar(folder, clips=CLIPS, name=PERSON)
    for clip in CLIPS:
        meshes = np.repeat(mesh_of_a_face()[None], FRAMES, 0)
        np.save(folder / "clips" / f"{clip}.landmarks.npy", meshes)
    device = environment.get("DEVICE", "cpu").partition(",")[0]
    subprocess.run(
        [sys.executable, "manage.py", "prepare_musetalk", PERSON, "--device", device],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    faces = read_clip(folder, "speaking_0", FRAMES, "1")
    assert faces is not None, "it was prepared"
    patch = faces.patch(0)
    mouths.append(
        Mouth(
            slice(patch.y + _MARGIN, patch.y + patch.height - _MARGIN),
            slice(patch.x + 2 * _MARGIN, patch.x + patch.width - 2 * _MARGIN),
        )
    )
