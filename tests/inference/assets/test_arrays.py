"""Arrays of a prepared avatar: read, or refused in words, whatever the file holds."""

import io
import random
from pathlib import Path

import numpy as np
import pytest

from inference.assets.arrays import read_array
from inference.errors import AvatarInvalid


def _bytes_of(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _archive() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(3))
    return stream.getvalue()


GOOD = _bytes_of(np.arange(24, dtype=np.float32).reshape(2, 3, 4))


def test_an_array_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(GOOD)
    found = read_array(path)
    assert found.shape == (2, 3, 4)
    assert found[1, 2, 3] == 23
    assert not found.flags.writeable


def test_an_absent_file_is_the_callers_affair(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no array", id="text"),
        pytest.param(b"PK\x03\x04" + bytes(100), id="a damaged archive"),
        pytest.param(_archive(), id="an archive of arrays"),
        pytest.param(GOOD[:-1], id="cut off"),
        pytest.param(GOOD.replace(b"(2, 3, 4)", b"(2, 3, 4 "), id="a header without an end"),
        pytest.param(GOOD.replace(b"(2, 3, 4)", b"(9999**9)"), id="a header that computes"),
        pytest.param(GOOD.replace(b"(2, 3, 4), ", b"(99999999,)"), id="more than the file has"),
        pytest.param(_bytes_of(np.array(["a"])), id="texts"),
        pytest.param(_bytes_of(np.zeros(3, complex)), id="complex numbers"),
        pytest.param(_bytes_of(np.zeros(3, [("a", "f4")])), id="records"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(AvatarInvalid, match=r"a\.npy"):
        read_array(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AvatarInvalid):
        read_array(tmp_path)


def test_damage_to_the_header_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    chance = random.Random(0)
    for _ in range(1_000):
        content = bytearray(GOOD)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(128)] = chance.randrange(256)
        path.write_bytes(content)
        try:
            found = read_array(path)
        except AvatarInvalid:
            continue
        assert found.dtype.kind in "biuf"
