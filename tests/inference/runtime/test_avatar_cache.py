"""Avatars are opened once for all sessions, and dropped when no session uses them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inference.assets import manifest as manifests
from inference.assets.clips import AvatarClips, PictureCache
from inference.assets.library import AvatarLibrary
from inference.assets.publishing import publish
from inference.engines.in_process import InProcessEngine
from inference.errors import AvatarInvalid, AvatarNotFound
from inference.media.profile import DEFAULT_PROFILE
from inference.runtime.avatar_cache import AvatarCache, OpenAvatar
from tests.factories import make_avatar
from tests.fakes import InlinePool, LoudnessEngine, ManualClock


class CountingEngine(LoudnessEngine):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []

    def open_avatar(self, folder, manifest):
        self.opened.append(folder.name)
        return super().open_avatar(folder, manifest)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shelf = tmp_path_factory.mktemp("shelf")
    for name in ("ada", "bob"):
        make_avatar(shelf / name, clips={"idle_0": 2}, name=name)
    (shelf / "damaged").mkdir()
    (shelf / "damaged" / "manifest.json").write_text("{")
    return shelf


class Avatars(AvatarCache):
    """With an engine that counts, and clips that a test says are in use."""

    def __init__(self, shelf: Path, pool=None, engine: CountingEngine | None = None) -> None:
        self.engine = engine or CountingEngine()
        self.used: list[AvatarClips] = []
        super().__init__(
            engine=InProcessEngine(
                self.engine,
                pool=InlinePool(),
                avatar_pool=pool or InlinePool(),
                now_s=ManualClock().now_s,
            ),
            library=AvatarLibrary(shelf, shelf),
            cache=PictureCache(),
            profile=DEFAULT_PROFILE,
            pool=pool or InlinePool(),
            in_use=lambda: self.used,
        )


async def test_sessions_of_one_avatar_share_it(shelf: Path) -> None:
    avatars = Avatars(shelf)
    first = await avatars.open("ada", "1")
    avatars.used.append(first.clips)
    assert await avatars.open("ada", "1") is first
    await avatars.open("bob", "1")
    assert await avatars.open("ada", "1") is first
    assert avatars.engine.opened == ["ada", "bob"]


async def test_another_version_is_another_avatar(shelf: Path) -> None:
    avatars = Avatars(shelf)
    first = await avatars.open("ada", "1")
    assert await avatars.open("ada", "2") is not first


async def test_what_nobody_uses_is_forgotten_when_another_is_opened(shelf: Path) -> None:
    avatars = Avatars(shelf)
    await avatars.open("ada", "1")
    await avatars.open("ada", "1")
    assert avatars.engine.opened == ["ada"], "kept though nobody uses it"
    await avatars.open("bob", "1")
    await avatars.open("ada", "1")
    assert avatars.engine.opened == ["ada", "bob", "ada"]


async def test_who_asks_at_the_same_time_gets_the_same(shelf: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        avatars = Avatars(shelf, pool)

        async def use() -> OpenAvatar:
            opened = await avatars.open("ada", "1")
            avatars.used.append(opened.clips)
            return opened

        one, two = await asyncio.gather(use(), use())
    assert one is two
    assert avatars.engine.opened == ["ada"]


def replace(folder: Path, *, frames: int) -> None:
    """Prepare an avatar again."""
    made = folder.with_name("made")
    make_avatar(made, clips={"idle_0": frames}, name=folder.name, version=f"{frames} frames")
    publish(made, folder, former=folder.with_name(f"before-{frames}"))


class ReadingEngine(CountingEngine):
    """Reads the folder, where it finds another version the first times."""

    def __init__(self, replacements: int) -> None:
        super().__init__()
        self.left = replacements

    def open_avatar(self, folder, manifest):
        if self.left:
            self.left -= 1
            replace(folder, frames=manifest.clips[0].frames + 1)
        return super().open_avatar(folder, manifests.read(folder))


async def test_a_folder_that_is_replaced_while_it_is_opened_is_one_version(tmp_path: Path) -> None:
    """Else the clips of one version are shown with the landmarks of another."""
    make_avatar(tmp_path / "ada", clips={"idle_0": 2}, name="ada")
    avatars = Avatars(tmp_path, engine=ReadingEngine(1))
    opened = await avatars.open("ada", "1")
    assert opened.clips.manifest.clips[0].frames == 3
    assert opened.avatar == opened.clips.manifest.version
    assert avatars.engine.opened == ["ada", "ada"]


async def test_a_folder_that_is_replaced_each_time_is_given_up(tmp_path: Path) -> None:
    make_avatar(tmp_path / "ada", clips={"idle_0": 2}, name="ada")
    with pytest.raises(AvatarInvalid, match="replaced"):
        await Avatars(tmp_path, engine=ReadingEngine(10)).open("ada", "1")


@pytest.mark.parametrize(("name", "error"), [("eve", AvatarNotFound), ("damaged", AvatarInvalid)])
async def test_what_cannot_be_opened_is_said(shelf: Path, name: str, error: type) -> None:
    with pytest.raises(error):
        await Avatars(shelf).open(name, "1")
