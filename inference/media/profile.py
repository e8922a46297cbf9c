"""The video profile: what clips and live encoding must share so that they can follow each other."""

from dataclasses import dataclass

from inference.timing import FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class VideoProfile:
    """How every picture of a stream is encoded.

    A stream alternates between access units made at preparation and ones encoded live. Both must
    come from the same profile: a decoder then sees one stream, and a viewer sees no change of
    quality at the seam. Clips have CRF with a VBV cap, and live pictures the quantization that
    comes of it (`encoder.live_qp`): average-bitrate control makes the first group of pictures of
    every live stretch visibly worse.
    """

    width: int = 512
    height: int = 512
    frames_per_second: int = FRAMES_PER_SECOND
    gop: int = 25
    crf: int = 21
    vbv_kbit: int = 2_500
    preset: str = "superfast"
    level: str = "3.0"

    @property
    def resolution(self) -> str:
        return f"{self.width}x{self.height}"


DEFAULT_PROFILE = VideoProfile()
