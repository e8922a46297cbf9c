"""What a serving process does: all of it, or one process's part."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What an app process inherits from its supervisor."""

    control: int
    listening: int


@dataclass(frozen=True, slots=True)
class AppOptions:
    """What one serving process does."""

    host: str
    port: int
    has_worker: bool
    prepares: bool
    is_first: bool = True
    """Whether this process also does what is done once a machine."""
    processes: int = 1
    """How many processes of this machine serve."""
    engine_addresses: tuple[Path, ...] = ()
    """Of the engine processes that the supervisor keeps, one for each device."""
    descriptors: Descriptors | None = None
    """None: this process is alone, and listens by itself."""

    def as_process(
        self,
        number: int,
        *,
        count: int,
        control: int,
        listening: int,
        engine_addresses: Sequence[Path],
    ) -> "AppOptions":
        """Return the options of one process among ``count``."""
        return replace(
            self,
            prepares=self.prepares and number == 0,
            is_first=number == 0,
            processes=count,
            engine_addresses=tuple(engine_addresses),
            descriptors=Descriptors(control, listening),
        )
