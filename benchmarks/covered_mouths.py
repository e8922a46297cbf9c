"""How well covered mouths are recognized: pictures of faces, and things drawn before their mouths.

    python -m benchmarks.covered_mouths FOLDER [--covered FOLDER] [--limit 200]

Each face of FOLDER is looked at as it is, which should raise no alarm, and with each thing of
`benchmarks.occlusions` before its mouth, which should; those of ``--covered`` have things before
their mouths already. Videos count with a picture a second. Faces smaller than preparation takes are
left out, and so are those that are not found any more once they are covered. A tongue that is put
out is looked for likewise; there, ``covered`` is the share of faces that are taken to show one.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError

from benchmarks.occlusions import THINGS, tongue
from inference.faces.mesh import Face, FaceMesh
from inference.faces.tflite import RgbPicture
from inference.preparation.covering import look_at_mouth

_LEAST_FACE = 72.0
_LARGEST_SIDE = 960
_STILLS = (".jpg", ".jpeg", ".png", ".webp", ".jfif")
_VIDEOS = (".mp4", ".mov", ".webm", ".mkv")


def pictures(folder: Path) -> Iterator[tuple[str, RgbPicture]]:
    """Yield all stills, of videos a picture a second, and names; at most 960 pixels a side."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _STILLS:
            read = cv2.imread(str(path))
            if read is not None:
                yield path.name, _reduced(read[..., ::-1])
        elif path.suffix.lower() in _VIDEOS:
            try:
                with av.open(str(path)) as video:
                    for number, frame in enumerate(video.decode(video=0)):
                        if number % 25 == 0:
                            shown = frame.to_ndarray(format="rgb24")
                            yield f"{path.name} at {number}", _reduced(np.asarray(shown, np.uint8))
            except FFmpegError:
                continue


def find(mesh: FaceMesh, picture: RgbPicture) -> Face | None:
    """Find the face, if it is large enough."""
    mesh.forget()
    face = mesh.find(picture)
    if face is None:
        return None
    height = float(np.linalg.norm(face.landmarks[10, :2] - face.landmarks[152, :2]))
    return face if height >= _LEAST_FACE else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--covered", type=Path)
    parser.add_argument("--limit", type=int, default=200, help="faces at most, of each folder")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    mesh, random = FaceMesh(), np.random.default_rng(1)
    seen: dict[str, list[float]] = {"nothing": [], **{name: [] for name in THINGS}}
    alarms, lost = [], dict.fromkeys(THINGS, 0)
    tongues: dict[str, list[float]] = {"no tongue": [], "a tongue": []}
    for name, picture in _faces(mesh, arguments.folder, arguments.limit):
        face = find(mesh, picture)
        assert face is not None, "it was found before"
        look = look_at_mouth(picture, face.landmarks)
        seen["nothing"].append(look.visibility)
        tongues["no tongue"].append(-look.tongue)
        if seen["nothing"][-1] < 0:
            alarms.append(name)
        for thing, draw in THINGS.items():
            covered = draw(picture, face.landmarks, random)
            again = find(mesh, covered)
            if again is None or _moved(again, face) > face.interocular:
                lost[thing] += 1
            else:
                seen[thing].append(look_at_mouth(covered, again.landmarks).visibility)
        shown = tongue(picture, face.landmarks, random)
        if (again := find(mesh, shown)) is not None:
            tongues["a tongue"].append(-look_at_mouth(shown, again.landmarks).tongue)
    if arguments.covered:
        seen["real things"] = [
            look_at_mouth(picture, found.landmarks).visibility
            for _, picture in _faces(mesh, arguments.covered, arguments.limit)
            if (found := find(mesh, picture)) is not None
        ]
    _print(seen | tongues, lost, alarms)


def _faces(mesh: FaceMesh, folder: Path, limit: int) -> Iterator[tuple[str, RgbPicture]]:
    """Yield pictures with a face, at most ``limit``, spread over the folder."""
    names = [path for path in folder.rglob("*") if path.suffix.lower() in (*_STILLS, *_VIDEOS)]
    every = max(1, len(names) // limit)
    count = 0
    for number, (name, picture) in enumerate(pictures(folder)):
        if number % every == 0 and count < limit and find(mesh, picture) is not None:
            count += 1
            yield name, picture


def _print(seen: dict[str, list[float]], lost: dict[str, int], alarms: list[str]) -> None:
    print(
        f"{'before the mouth':<18} {'faces':>6} {'no face':>8} {'covered':>8}  least, median, most"
    )
    for name, scores in seen.items():
        if not scores:
            continue
        share = np.mean(np.array(scores) < 0)
        spread = ", ".join(f"{value:.1f}" for value in np.percentile(scores, [0, 50, 100]))
        print(f"{name:<18} {len(scores):>6} {lost.get(name, 0):>8} {share:>8.1%}  {spread}")
    if alarms:
        print("false alarms:", ", ".join(alarms[:20]))


def _moved(again: Face, face: Face) -> float:
    """Measure how far the tip of the nose is from where it was."""
    return float(np.linalg.norm(again.landmarks[1] - face.landmarks[1]))


def _reduced(picture: RgbPicture | cv2.typing.MatLike) -> RgbPicture:
    scale = _LARGEST_SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture, np.uint8)


if __name__ == "__main__":
    main()
