"""Pictures in HDR (HLG, PQ) or a wide gamut (BT.2020, P3) as a standard screen shows them.

Phones record in HDR unless told otherwise, and screens are recorded in P3. Taken as they are, such
pictures are gray and dull: their numbers mean other brightnesses and other primaries. Here they
become light, in units of the white that a standard picture has, then BT.709 primaries, then a
standard picture's numbers:

* PQ: the EOTF of SMPTE ST 2084; HLG: the inverse OETF and the OOTF of ITU-R BT.2100 at 1000 cd/m².
* Reference white is 203 cd/m² (ITU-R BT.2408, 3.1), which is 75 % HLG and 58 % PQ.
* What is brighter than `KNEE` is rolled off, all three primaries by the same factor, so that
  highlights keep their hue.
* The screen is that of ITU-R BT.1886: gamma 2.4.
"""

import tempfile
from fractions import Fraction
from functools import cache

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from inference.faces.tflite import RgbPicture

PQ, HLG = 16, 18
"""Transfer characteristics as numbered in ITU-T H.273."""
BT2020, P3 = 9, 12
"""Primaries as numbered there."""

_ROUNDED = Interpolation.BILINEAR | Interpolation.ACCURATE_RND
"""Without it pictures of 8 bits become two levels darker."""

WHITE_NITS = 203.0
KNEE = 0.9
"""In units of white, linear."""
TABLE_SIDE = 65
_HLG_PEAK_NITS = 1_000.0
_HLG_GAMMA = 1.2
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
_TO_709 = {
    BT2020: np.array(
        [
            [1.6605, -0.5876, -0.0728],
            [-0.1246, 1.1329, -0.0083],
            [-0.0182, -0.1006, 1.1187],
        ],
        np.float32,
    ),
    P3: np.array(
        [
            [1.2249, -0.2249, 0.0],
            [-0.0421, 1.0421, 0.0],
            [-0.0196, -0.0786, 1.0982],
        ],
        np.float32,
    ),
}
"""To BT.709 primaries, linear light: of BT.2020 by ITU-R BT.2407, 2.2; of P3 by the chromaticities
of SMPTE EG 432-1."""


def is_standard(frame: VideoFrame) -> bool:
    """Whether the frame's numbers mean what a standard screen shows for them."""
    return int(frame.color_trc) not in (HLG, PQ) and int(frame.color_primaries) not in _TO_709


class ToneMapper:
    """Maps the frames of one video.

    FFmpeg looks colors up in a table that is made from the formulas once: a picture of 1080p then
    takes some milliseconds instead of most of a second.
    """

    def __init__(self) -> None:
        self._graphs: dict[tuple[int, int, int, int], Graph] = {}

    def to_rgb(self, frame: VideoFrame, transfer: int) -> RgbPicture:
        """Return the frame as a standard RGB picture, uint8 ``[height, width, 3]``.

        Args:
            frame: As it was decoded.
            transfer: `PQ`, `HLG`, or that of a standard picture.
        """
        primaries = int(frame.color_primaries)
        deep = frame.reformat(format="rgb48le", interpolation=_ROUNDED)
        key = frame.width, frame.height, transfer, primaries
        if key not in self._graphs:
            self._graphs[key] = _graph(deep, transfer, primaries)
        graph = self._graphs[key]
        deep.pts, deep.time_base = None, Fraction(1, 1)
        graph.push(deep)
        mapped = graph.pull()
        return np.asarray(mapped.to_ndarray(), np.uint8)


def _graph(frame: VideoFrame, transfer: int, primaries: int) -> Graph:
    """Return a filter graph for frames like this one."""
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1)
    )
    with tempfile.NamedTemporaryFile("w", suffix=".cube") as file:
        file.write(_cube(transfer, primaries))
        file.flush()
        lut = graph.add("lut3d", f"file={file.name}:interp=tetrahedral")
        depth = graph.add("format", "pix_fmts=rgb24")
        source.link_to(lut)
        lut.link_to(depth)
        depth.link_to(graph.add("buffersink"))
        graph.configure()
    return graph


@cache
def _cube(transfer: int, primaries: int) -> str:
    """Return the table in the ``.cube`` format: red changes fastest."""
    steps = np.linspace(0, 1, TABLE_SIDE, dtype=np.float32)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    signal = np.stack([red, green, blue], axis=-1).reshape(1, -1, 3)
    colors = sdr_signal(signal, transfer, primaries).reshape(-1, 3)
    rows = "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in colors)
    return f"LUT_3D_SIZE {TABLE_SIDE}\n{rows}\n"


def sdr_signal(
    signal: NDArray[np.float32], transfer: int, primaries: int = BT2020
) -> NDArray[np.float32]:
    """HDR or wide-gamut colors as standard ones.

    Args:
        signal: float32 ``[n, m, 3]``, RGB, 0 to 1.
        transfer: `PQ`, `HLG`, or that of a standard picture.
        primaries: `P3`, else BT.2020, as HDR has.

    Returns:
        The same shape, RGB of BT.709 for a screen of gamma 2.4, 0 to 1.
    """
    if transfer == PQ:
        light = _pq_light(signal)
    elif transfer != HLG:
        light = signal**2.4
    else:
        light = _hlg_light(signal)
        luma = np.maximum(light @ _LUMA_2020, 1e-6)
        system = luma[..., None] ** np.float32(_HLG_GAMMA - 1)
        light = light * system * np.float32(_HLG_PEAK_NITS / WHITE_NITS)
    light = np.maximum(light @ _TO_709.get(primaries, _TO_709[BT2020]).T, 0)
    if transfer in (HLG, PQ):
        peak = np.maximum(light.max(axis=-1), 1e-6)
        light = light * (_rolled_off(peak) / peak)[..., None]
    return np.asarray(np.clip(light, 0, 1) ** np.float32(1 / 2.4), np.float32)


def _rolled_off(peak: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light above `KNEE` approaches white; the curve has no corner."""
    room = np.float32(1 - KNEE)
    rolled = 1 - room * np.exp(-(peak - np.float32(KNEE)) / room)
    return np.asarray(np.where(peak <= KNEE, peak, rolled), np.float32)


def _pq_light(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = signal ** (1 / m2)
    nits = 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return np.asarray(nits / WHITE_NITS, np.float32)


def _hlg_light(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return np.asarray(light, np.float32)
