"""How finely pictures are quantized, as their decoder finds it."""

from collections.abc import Iterable, Iterator

import av
import numpy as np
from av.sidedata.sidedata import SideData

_HEADER = np.dtype(
    {
        "names": ["blocks", "offset", "size", "qp"],
        "formats": ["<u4", "<u8", "<u8", "<i4"],
        "offsets": [0, 8, 16, 28],
        "itemsize": 64,
    }
)
"""FFmpeg's AVVideoEncParams, as libavutil/video_enc_params.h declares it on 64-bit machines."""
_DELTA_QP_OFFSET = 16
"""Of the last field of an AVVideoBlockParams, after four of as many bytes as it has."""


def mean_qp(access_units: Iterable[bytes]) -> float | None:
    """Return the mean QP of all macroblocks of pictures that refer to others.

    Args:
        access_units: Annex B, from an IDR on.

    Returns:
        From 0, the finest, to 51; None where no picture refers to another one, or where the
        decoder cannot read them.
    """
    try:
        found = list(_qps(access_units))
    except av.FFmpegError:
        return None
    return float(np.mean(found)) if found else None


def _qps(access_units: Iterable[bytes]) -> Iterator[float]:
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoder.options = {"export_side_data": "venc_params"}
    for packet in (*map(av.Packet, access_units), None):
        for frame in decoder.decode(packet):
            if frame.key_frame:
                continue
            if isinstance(data := frame.side_data.get("VIDEO_ENC_PARAMS"), SideData):
                yield _mean_of(data)


def _mean_of(data: SideData) -> float:
    stored = np.frombuffer(bytes(data), np.uint8)
    header = stored[: _HEADER.itemsize].view(_HEADER)[0]
    size = int(header["size"])
    blocks = stored[int(header["offset"]) :][: int(header["blocks"]) * size].reshape(-1, size)
    deltas = blocks[:, _DELTA_QP_OFFSET : _DELTA_QP_OFFSET + 4].copy().view("<i4")
    return float(header["qp"] + deltas.mean())
