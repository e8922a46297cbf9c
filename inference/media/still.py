"""An H.264 access unit as a small picture, for people."""

import av
import cv2

STILL_SIDE = 320
"""Pixels, of the longer side at most."""
_QUALITY = 82


def jpeg_of(access_unit: bytes) -> bytes | None:
    """Return a JPEG of an IDR access unit; None if it cannot be decoded.

    Args:
        access_unit: Annex B, with its parameter sets.
    """
    decoder = av.CodecContext.create("h264", "r")
    try:
        frames = [*decoder.decode(av.Packet(access_unit)), *decoder.decode(None)]
    except av.FFmpegError:
        return None
    if not frames:
        return None
    picture = frames[0].to_ndarray(format="bgr24")
    scale = min(1.0, STILL_SIDE / max(picture.shape[:2]))
    side = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    small = cv2.resize(picture, side, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
