"""Avatars in memory: opened for their first session, shared by all of them."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from weakref import WeakValueDictionary

from inference.assets.clips import AvatarClips, PictureCache
from inference.assets.library import AvatarLibrary
from inference.engines.access import EngineAccess
from inference.engines.base import LoadedAvatar
from inference.media.profile import VideoProfile


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
                loop = asyncio.get_running_loop()
                clips = await loop.run_in_executor(
                    self._pool, partial(AvatarClips, folder, self._cache, profile=self._profile)
                )
                avatar = await self._engine.open_avatar(folder, clips.manifest)
                self._forget_unused()
                self._opened[key] = OpenAvatar(clips, avatar)
            return self._opened[key]

    def _forget_unused(self) -> None:
        used = {id(clips) for clips in self._in_use()}
        for key, opened in list(self._opened.items()):
            if id(opened.clips) not in used:
                del self._opened[key]
                self._engine.close_avatar(opened.avatar)
