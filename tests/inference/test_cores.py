"""How many cores there are for us, and so how many processes serve."""

import os

import pytest

from inference.cores import available_cores


@pytest.mark.parametrize(
    ("quota", "most"),
    [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 1_024), ("", 1_024)],
)
def test_a_container_has_the_cores_of_its_quota(tmp_path, quota, most):
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert available_cores(file) == min(len(os.sched_getaffinity(0)), most)


def test_an_affinity_mask_counts(tmp_path):
    mask = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mask)})
    try:
        assert available_cores(tmp_path / "none") == 1
    finally:
        os.sched_setaffinity(0, mask)
