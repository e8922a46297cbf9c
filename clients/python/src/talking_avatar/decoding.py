"""H.264 access units → pictures, and whether the stream is whole. Needs PyAV.

FFmpeg's decoder conceals losses without reporting them: where a P picture refers to one that never
came it uses the picture before, and after a lost IDR it drops pictures. So beside its errors this
counts the pictures that did not come out, and follows ``frame_num``, by which every coded picture
names its predecessor (ITU-T H.264, 7.4.3).
"""

from dataclasses import dataclass

import av
from av.error import FFmpegError
from av.video.frame import VideoFrame

_NAL_SLICE, _NAL_IDR, _NAL_SPS = 1, 5, 7
_HEAD_BYTES = 24


@dataclass(frozen=True, slots=True)
class _SliceHead:
    is_idr: bool
    frame_num: int


class _Bits:
    """Reads an RBSP from its start, bit by bit (ITU-T H.264, 7.2 and 9.1)."""

    def __init__(self, nal: bytes) -> None:
        rbsp = nal.replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(rbsp, "big")
        self._left = len(rbsp) * 8

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("header ends too early")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _nal_heads(access_unit: bytes) -> list[bytes]:
    """Return the first bytes of each NAL unit, its header byte first."""
    heads, at = [], access_unit.find(b"\x00\x00\x01")
    while at >= 0:
        if head := access_unit[at + 3 : at + 3 + _HEAD_BYTES]:
            heads.append(head)
        at = access_unit.find(b"\x00\x00\x01", at + 3)
    return heads


class AccessUnitDecoder:
    """Decodes one stream in order."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("h264", "r")
        self._codec.thread_count = 1  # more threads would hold pictures back
        self._codec.options = {"err_detect": "explode"}
        self._frame_num_bits = 0
        self._last_frame_num: int | None = None
        self.pictures = 0
        self.errors = 0
        """Access units that were not whole."""
        self.last_error: str | None = None
        """What was wrong with the last of them."""

    def decode(self, access_unit: bytes) -> VideoFrame | None:
        """Return the picture of ``access_unit``.

        It is None, and an error is counted, if there is no whole one.
        """
        fault = self._break_in_references(access_unit)
        picture: VideoFrame | None = None
        try:
            pictures = self._codec.decode(av.Packet(access_unit))
        except FFmpegError as error:
            fault = str(error)
        else:
            if len(pictures) == 1:
                picture = pictures[0]
                self.pictures += 1
                if picture.is_corrupt:
                    fault = "the picture is damaged"
            else:
                fault = fault or f"{len(pictures)} pictures came out instead of one"
        if fault:
            self.errors += 1
            self.last_error = fault
        return picture

    def _break_in_references(self, access_unit: bytes) -> str | None:
        try:
            head = self._slice_head(access_unit)
        except ValueError as error:
            return str(error)
        if head is None:
            return "no picture in the access unit"
        last, self._last_frame_num = self._last_frame_num, head.frame_num
        if head.is_idr:
            return None if head.frame_num == 0 else "an IDR's frame_num must be 0"
        if last is None:
            return "the stream does not begin with an IDR"
        due = (last + 1) % (1 << self._frame_num_bits)
        if head.frame_num != due:
            return f"reference missing: frame_num {head.frame_num} after {last}"
        return None

    def _slice_head(self, access_unit: bytes) -> _SliceHead | None:
        for nal in _nal_heads(access_unit):
            kind = nal[0] & 31
            bits = _Bits(nal[1:])
            if kind == _NAL_SPS:
                bits.take(24)  # profile, constraints, level
                bits.exp_golomb()  # seq_parameter_set_id
                self._frame_num_bits = bits.exp_golomb() + 4
            elif kind in (_NAL_SLICE, _NAL_IDR):
                if not self._frame_num_bits:
                    raise ValueError("no SPS before the first picture")
                for _ in range(3):  # first_mb_in_slice, slice_type, pic_parameter_set_id
                    bits.exp_golomb()
                return _SliceHead(kind == _NAL_IDR, bits.take(self._frame_num_bits))
        return None
