"""Where the source of the picture changes, a viewer sees nothing but the mouth.

`benchmarks.seams` measures this over all clips, by their 99th percentile; here a few
seams of each kind must be far from a jump, which two unrelated pictures of the presenter are.
"""

import pytest

from benchmarks.pictures import AvatarPictures, step
from benchmarks.seams import play, seams
from benchmarks.speech import Speech, babble
from tests.media import assert_decodes, assert_pts_contiguous

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

KINDS = {"speech begins", "speech ends", "clip to clip", "action in", "action out"}
SLACK = 2.0


@pytest.fixture(scope="module")
def presenter():
    return AvatarPictures()


def test_unrelated_pictures_would_be_seen(presenter):
    mask = presenter.outside("idle_0") & presenter.outside("action_1")
    jump = step(presenter.luma("idle_0", 0), presenter.luma("action_1", 40), mask)
    assert jump > SLACK * max(presenter.steps("idle_0", mask))


@pytest.mark.lasting
async def test_no_seam_is_seen(server, presenter):
    clips = ["idle_1", "speaking_2", "speaking_5"]
    frames = await play(server, "seamstress", Speech(babble(8), "babble"), 1, clips)
    assert_pts_contiguous([frame.timestamp_ms for frame in frames])
    assert_decodes(frame.data for frame in frames)
    found = list(seams(frames, presenter))
    assert {seam.kind for seam in found} == KINDS
    assert [seam for seam in found if seam.step > SLACK * seam.usual] == []
