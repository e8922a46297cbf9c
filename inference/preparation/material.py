"""The video, or the named clips, of one avatar as one row of pictures with one index.

Files are looked at one after the other and joined end to end, with a cut between them. From here on
every stage speaks of picture ``k`` of the row: landmarks, judgement, thumbnails and pictures cannot
get out of step. Pictures are decoded twice, once to look, once to take those that were chosen.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.errors import PreparationError
from inference.media.types import Picture
from inference.preparation.footage import Condition, Footage, pictures
from inference.preparation.framing import Frame, choose_frame, face_heights
from inference.preparation.orientation import upright
from inference.preparation.quality import Finding, Judgement, file_findings, judge
from inference.preparation.track import Track, follow, smoothed


@dataclass(frozen=True, slots=True, eq=False)
class AnalyzedVideo:
    """One file, looked at. ``landmarks``: framed pixels, float32 ``[n, 468, 3]``."""

    footage: Footage
    track: Track
    frame: Frame
    landmarks: NDArray[np.float32]
    judgement: Judgement

    @classmethod
    def of(cls, footage: Footage, *, fewest: int, tell: Callable[[int], None]) -> "AnalyzedVideo":
        """Track, smooth, frame and judge a file; PreparationError if it cannot be used."""
        footage = upright(footage)
        condition = Condition()
        track = follow(pictures(footage, condition), tell)
        landmarks = smoothed(track.landmarks, track.is_cut)
        frame = choose_frame(landmarks, footage.width, footage.height)
        judgement = judge(
            track,
            landmarks,
            frame,
            (footage.width, footage.height),
            fewest=fewest,
        )
        judgement.findings.extend(
            file_findings(
                is_hdr=footage.is_hdr,
                is_turned=footage.quarter_turns != 0,
                has_changed_size=condition.has_changed_size,
                damaged_s=condition.damaged_s,
            )
        )
        return cls(footage, track, frame, frame.to_frame(landmarks), judgement)

    def __len__(self) -> int:
        return len(self.track)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """All videos of an avatar, end to end."""

    videos: list[AnalyzedVideo]

    def __len__(self) -> int:
        return sum(len(video) for video in self.videos)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """Where each video is in the row, half-open."""
        ends = np.cumsum([0, *(len(video) for video in self.videos)])
        return [(int(a), int(b)) for a, b in itertools.pairwise(ends)]

    @property
    def landmarks(self) -> NDArray[np.float32]:
        """Framed pixels, float32 ``[n, 468, 3]``."""
        return np.concatenate([video.landmarks for video in self.videos])

    @property
    def thumbnails(self) -> NDArray[np.uint8]:
        return np.concatenate([video.track.thumbnails for video in self.videos])

    @property
    def is_usable(self) -> NDArray[np.bool_]:
        return np.concatenate([video.judgement.is_usable for video in self.videos])

    @property
    def is_cut(self) -> NDArray[np.bool_]:
        """A new video begins with a cut."""
        cuts = [video.track.is_cut.copy() for video in self.videos]
        for cut in cuts[1:]:
            cut[0] = True
        return np.concatenate(cuts)

    @property
    def pose_deg(self) -> NDArray[np.float32]:
        return np.concatenate([video.judgement.pose_deg for video in self.videos])

    @property
    def sharpness(self) -> NDArray[np.float32]:
        return np.concatenate([video.track.sharpness for video in self.videos])

    @property
    def face_height(self) -> float:
        """Median, in framed pixels."""
        return float(np.nanmedian(face_heights(self.landmarks)))

    @property
    def findings(self) -> list[Finding]:
        """Of all videos, each fault once, with its share of the whole row."""
        shares: dict[str, float] = {}
        messages: dict[str, str] = {}
        for video in self.videos:
            for finding in video.judgement.findings:
                part = finding.share * len(video) / len(self)
                shares[finding.reason] = shares.get(finding.reason, 0.0) + part
                messages[finding.reason] = finding.message
        ordered = sorted(shares, key=lambda reason: -shares[reason])
        return [Finding(reason, round(shares[reason], 4), messages[reason]) for reason in ordered]

    def pictures(self, wanted: set[int]) -> Iterator[tuple[int, Picture]]:
        """Framed pictures of the row by number, ascending: those in ``wanted``, decoded again.

        PreparationError if a file does not give the same pictures a second time.
        """
        for video, (start, end) in zip(self.videos, self.ranges, strict=True):
            here = {k for k in wanted if start <= k < end}
            if not here:
                continue
            last = max(here)
            for index, picture in enumerate(pictures(video.footage), start):
                if index in here:
                    here.remove(index)
                    yield index, video.frame.cut(picture)
                if index == last:
                    break
            if here:
                raise PreparationError(
                    "unreadable",
                    f"{video.footage.path.name} changed while it was read: send it again.",
                )
