"""Which way up a video or photograph is, by the face in it.

Metadata can be missing or wrong; then a face is on its side or upside down, and everything behind
would draw its mouth in the wrong place. The mesh tells how far a face is turned, but a face that is
upside down is often taken for an upright one, with little belief. So each picture is looked at in
all four quarter turns, and each look votes, with the mesh's belief, for the turn that would be
upright.
"""

import logging
from itertools import islice

import cv2
import numpy as np

from inference.faces.mesh import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, Face, FaceMesh
from inference.faces.tflite import RgbPicture
from inference.preparation.footage import Footage, pictures

log = logging.getLogger(__name__)

_LOOKED_AT_SIDE = 640
_SECOND = 25
_LOOKS, _APART = 3, 10
"""So many pictures are looked at, so far apart."""
_CLEAR_VOTES, _CLEAR_RATIO = 2.0, 1.5
"""A turn needs so many of a picture's four votes, and so many times those of none."""


def upright(footage: Footage) -> Footage:
    """Return the footage, turned so that the face is upright.

    It stays as it is if no face says otherwise.
    """
    votes = np.zeros(4)
    wanted = range(0, _LOOKS * _APART, _APART)
    for index, picture in enumerate(islice(pictures(footage), wanted[-1] + 1)):
        if index in wanted:
            votes += turn_votes(picture)
    count = max(1.0, votes.sum() / 4)
    turns = int(votes.argmax())
    if turns and votes[turns] / count > _CLEAR_VOTES and votes[turns] > _CLEAR_RATIO * votes[0]:
        log.warning("%s: the face is turned by %d degrees", footage.path.name, 90 * turns)
        return footage.turned(turns)
    return footage


def turn_votes(picture: RgbPicture) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """For each number of quarter turns, how much speaks for it: up to 4 in all."""
    scale = min(1.0, _LOOKED_AT_SIDE / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    votes = np.zeros(4)
    for turns in range(4):
        mesh = FaceMesh()
        face = mesh.find(np.ascontiguousarray(np.rot90(small, turns)))
        if face is not None:
            votes[(turns + round(_roll_deg(face) / 90)) % 4] += face.score
    return votes


def _roll_deg(face: Face) -> float:
    """How far the line through the eyes is turned, clockwise."""
    right, down = face.landmarks[RIGHT_EYE_OUTER, :2] - face.landmarks[LEFT_EYE_OUTER, :2]
    return float(np.degrees(np.arctan2(down, right)))
