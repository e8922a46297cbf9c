"""H.264 encoding: one picture in, one access unit out, nothing held back.

The stream is Annex B, constrained baseline, without B-frames and without look-ahead, so the encoder
answers each picture with its access unit at once. SPS and PPS travel in band with each IDR, because
a viewer may join, or a clip end, at any of them. Scene-cut detection is off: an IDR comes where the
timeline wants one, or when the GOP is full, and nowhere else.

Clips are encoded at a constant quality within a bound on their bits. To find the quantization for
that, x264 looks at each picture twice. A live picture is quantized as its avatar's clips are on the
whole (`live_qp`), which saves a fifth to a third of its time.
"""

from collections.abc import Iterable
from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from inference.media import compositor
from inference.media.compositor import Planes
from inference.media.profile import VideoProfile
from inference.media.quantization import mean_qp
from inference.media.types import Patch, Picture

_IDR_QUALITY = 2.6
"""x264's ipratio, usually 1.4: how much finer an IDR is encoded than what refers to it. The better
reference makes up for most of its bytes."""
_FIRST_IDR_QUALITY = 5.0
"""Of the IDR that a stretch begins with. There the viewer sees a picture of the clip followed by a
second encoding of the next one, and any difference between two encodings is seen as a step: 0.24
luma levels in 57 kB with 3.5, 0.14 in 72 kB with 5; a clip's own IDRs have 58 to 76 kB."""

_FINEST_LIVE_QP = 18
"""What is quantized more finely looks the same; measured in docs/performance.md."""

_NAL_IDR = 5
_NAL_SPS = 7


class Encoder:
    """One live stretch of one session, or a clip.

    It has an x264 for the first group of pictures, which cannot change its ipratio, and another one
    for all that follow: to open one takes as long as to encode an IDR.

    Not thread-safe; frees the GIL while it encodes.
    """

    def __init__(self, profile: VideoProfile, *, qp: int | None = None) -> None:
        """Open it.

        Args:
            profile: Of the stream.
            qp: Quantize all pictures but IDRs so; None: for a constant quality, as clips.
        """
        self._profile = profile
        self._qp = qp
        self._codec = _codec(profile, _FIRST_IDR_QUALITY, qp)
        self._frame = av.VideoFrame(profile.width, profile.height, "yuv420p")
        """What x264 is given each time: it has made its own copy when `encode` returns."""
        self._canvas = _planes(self._frame)
        self._is_first_group = True
        self._pictures = 0
        self._pictures_in_group = 0

    def encode(self, picture: Picture, patch: Patch | None = None, *, idr: bool = False) -> bytes:
        """Return the access unit of a picture.

        Args:
            picture: I420, uint8 ``[height * 3 // 2, width]``.
            patch: What is seen over it; None: nothing.
            idr: It must be an IDR, as the first one always is.
        """
        if self._pictures and (idr or self._pictures_in_group == self._profile.gop):
            if self._is_first_group:  # nothing refers across an IDR
                self._codec = _codec(self._profile, _IDR_QUALITY, self._qp)
            self._is_first_group = False
            self._pictures_in_group = 0
        compositor.draw(self._canvas, picture, patch)
        frame = self._frame
        frame.pict_type = PictureType.NONE if self._pictures_in_group else PictureType.I
        frame.pts = self._pictures
        frame.time_base = self._codec.time_base
        self._pictures += 1
        self._pictures_in_group += 1
        # zerolatency: exactly one packet per picture
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


def _planes(frame: av.VideoFrame) -> Planes:
    """Return the planes of a frame, to be written to."""
    y_plane, u_plane, v_plane = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
            : plane.height, : plane.width
        ]
        for plane in frame.planes
    )
    return y_plane, u_plane, v_plane


def live_qp(access_units: Iterable[bytes]) -> int:
    """Return how live pictures are quantized that follow pictures of a clip.

    Args:
        access_units: Of the clip, from an IDR on.
    """
    found = mean_qp(access_units)
    return _FINEST_LIVE_QP if found is None else max(_FINEST_LIVE_QP, round(found))


def _codec(profile: VideoProfile, idr_quality: float, qp: int | None) -> VideoCodecContext:
    """Return an opened x264; ``idr_quality`` is its ipratio."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height = profile.width, profile.height
    codec.pix_fmt = "yuv420p"
    codec.framerate = Fraction(profile.frames_per_second)
    codec.time_base = Fraction(1, profile.frames_per_second)
    codec.gop_size = profile.gop
    codec.max_b_frames = 0
    codec.thread_count = 1
    bound = f":vbv-maxrate={profile.vbv_kbit}:vbv-bufsize={profile.vbv_kbit}" if qp is None else ""
    codec.options = {
        "preset": profile.preset,
        "tune": "zerolatency",
        "profile": "baseline",
        "level": profile.level,
        **({"crf": str(profile.crf)} if qp is None else {"qp": str(qp)}),
        "forced-idr": "1",
        "x264-params": (
            f"keyint={profile.gop}:min-keyint=1:scenecut=0:repeat-headers=1:annexb=1:aud=0"
            f":ipratio={idr_quality}{bound}"
        ),
    }
    return codec


def nal_types(access_unit: bytes) -> list[int]:
    """Return the types of the NAL units in an Annex B access unit, in order."""
    types, at = [], access_unit.find(b"\x00\x00\x01")
    while at >= 0:
        types.append(access_unit[at + 3] & 31)
        at = access_unit.find(b"\x00\x00\x01", at + 3)
    return types


def is_idr(access_unit: bytes) -> bool:
    return _NAL_IDR in nal_types(access_unit)


def codec_string(access_unit: bytes) -> str:
    """Return the codec string browsers want, such as ``avc1.42C01E``, from the SPS of an IDR."""
    at = access_unit.find(b"\x00\x00\x01")
    while at >= 0:
        if access_unit[at + 3] & 31 == _NAL_SPS:
            return "avc1." + access_unit[at + 4 : at + 7].hex().upper()
        at = access_unit.find(b"\x00\x00\x01", at + 3)
    raise ValueError("no SPS in the access unit: it is not an IDR with headers")
