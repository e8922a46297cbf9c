"""Avatars in memory: opened for their first session, shared by all of them."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from inference.assets.clips import AvatarClips, PictureCache
from inference.assets.library import AvatarLibrary, state_of
from inference.engines.access import EngineAccess
from inference.engines.base import LoadedAvatar
from inference.errors import AvatarError, AvatarInvalid
from inference.media.profile import VideoProfile

MAX_ATTEMPTS = 3
"""To open a folder that is replaced in the meantime."""


@dataclass(frozen=True, slots=True)
class OpenAvatar:
    """One avatar: its clips, and what the engine keeps of it."""

    clips: AvatarClips
    avatar: LoadedAvatar


class AvatarCache:
    """By folder and version. ``in_use`` tells the clips of all sessions."""

    def __init__(
        self,
        *,
        engine: EngineAccess,
        library: AvatarLibrary,
        cache: PictureCache,
        profile: VideoProfile,
        pool: Executor,
        in_use: Callable[[], Iterable[AvatarClips]],
    ) -> None:
        self._engine = engine
        self._library = library
        self._cache = cache
        self._profile = profile
        self._pool = pool
        self._in_use = in_use
        self._opened: dict[tuple[str, str], OpenAvatar] = {}
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        """Held while an avatar is opened: sessions that come at once open it once."""

    async def open(self, name: str, version: str) -> OpenAvatar:
        """Return the avatar in the folder ``name``.

        An unused avatar is kept until another is opened.

        Raises:
            AvatarError: There is none, or it cannot be used.
        """
        folder = self._library.find(name)
        key = (name, version)
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key not in self._opened:
                opened = await self._open(folder)
                self._forget_unused()
                self._opened[key] = opened
            return self._opened[key]

    async def _open(self, folder: Path) -> OpenAvatar:
        """Open a folder, again if another version replaced it before all of it was open."""
        for _ in range(MAX_ATTEMPTS):
            state = state_of(folder)
            try:
                opened = await self._open_once(folder)
            except AvatarError:
                if state_of(folder) == state:
                    raise
                continue
            if state_of(folder) == state:
                return opened
            self._engine.close_avatar(opened.avatar)
        raise AvatarInvalid(f"{folder} was replaced {MAX_ATTEMPTS} times while it was opened")

    async def _open_once(self, folder: Path) -> OpenAvatar:
        loop = asyncio.get_running_loop()
        clips = await loop.run_in_executor(
            self._pool, partial(_clips, folder, self._cache, profile=self._profile)
        )
        return OpenAvatar(clips, await self._engine.open_avatar(folder, clips.manifest))

    def _forget_unused(self) -> None:
        used = {id(clips) for clips in self._in_use()}
        for key, opened in list(self._opened.items()):
            if id(opened.clips) not in used:
                del self._opened[key]
                self._engine.close_avatar(opened.avatar)


def _clips(folder: Path, cache: PictureCache, *, profile: VideoProfile) -> AvatarClips:
    """Open clips. Runs in the pool: what takes time is done there."""
    clips = AvatarClips(folder, cache, profile=profile)
    _ = clips.live_qp
    return clips
