"""Chooses the next clip of a state, its entry and its exit, as long as the client chose none.

An avatar that loops one clip looks like a recording. So the clips of a state follow each other at
random: the first one, the calmest, 40 % of the time, never the same twice in a row where there are
three or more.

Let f be the share of the first clip and q its chance after another clip. It never follows itself,
so f = (1 - f) q, and q = f / (1 - f).

Seven clips in any order still repeat whole sequences within minutes. What a viewer could recognize
is a *transition*: a clip left at one frame for another one at another frame. A sequence of frames
that is seen twice, and is longer than a clip, contains a transition twice. So the last
`REMEMBERED` ones are not used again while there are others: a clip is left at any of its exits from
`SHORTEST_PLAY` frames on, and entered wherever it stands near the rest pose. An avatar with too few
clips, exits and entries uses the transition again that was used longest ago.

Pure: the source of chance is a number that goes in and comes out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from inference.assets.clip_index import ClipIndex

FIRST_SHARE = 0.4
_AFTER_ANOTHER = FIRST_SHARE / (1 - FIRST_SHARE)

SHORTEST_PLAY = 42
"""Frames. Less of a clip looks restless, and cuts its gesture off."""

REMEMBERED = 360
"""Transitions; ten minutes have at most 15,000 / `SHORTEST_PLAY` of them."""

# The generator of Knuth's MMIX: x <- a x + c mod 2^64, of which the upper bits are used.
_MULTIPLIER, _INCREMENT, _BITS = 6364136223846793005, 1442695040888963407, 64


@dataclass(frozen=True, slots=True)
class Transition:
    """A clip left after ``left_at`` frames, another entered at frame ``entered_at``."""

    clip: str
    left_at: int
    following: str
    entered_at: int


@dataclass(frozen=True, slots=True)
class Chance:
    """The source of chance, and what was shown by it."""

    seed: int = 0
    used: tuple[Transition, ...] = ()
    """The last transitions, the newest last."""

    def draw(self) -> "tuple[float, Chance]":
        """Return a number in 0..1, and the source after it."""
        seed = (self.seed * _MULTIPLIER + _INCREMENT) % 2**_BITS
        return (seed >> 11) / 2**53, replace(self, seed=seed)

    def remember(self, transition: Transition) -> "Chance":
        return replace(self, used=(*self.used, transition)[-REMEMBERED:])


@dataclass(frozen=True, slots=True)
class Play:
    """What runs next: a clip from ``entered_at`` until ``leaves_at`` frames of it are over."""

    clip: str
    entered_at: int
    leaves_at: int


def next_play(
    index: ClipIndex, names: Sequence[str], current: str, left_at: int, chance: Chance
) -> tuple[Play, Chance]:
    """Pick what follows a clip.

    Args:
        index: The avatar's clips.
        names: The clips of the state that may be shown; the first is the calmest.
        current: The clip that ends.
        left_at: How many frames of it are over.
        chance: The source of chance.

    Returns:
        What follows, ``current`` again if there is no other, and the source after it.
    """
    name, chance = next_clip(names, current, chance)
    unused = _unused_entries(index, name, current, left_at, chance)
    others = [other for other in names if other not in {name, current}]
    while not unused and others:
        number, chance = chance.draw()
        other = others.pop(int(number * len(others)))
        unused = _unused_entries(index, other, current, left_at, chance)
        name = other if unused else name
    if unused:
        number, chance = chance.draw()
        # Squared: rather early, since more exits are still to come then.
        entered_at = unused[int(number**2 * len(unused))]
    else:
        entered_at = _entry_used_longest_ago(index, name, current, left_at, chance)
    chance = chance.remember(Transition(current, left_at, name, entered_at))
    leaves_at, chance = _exit(index, name, entered_at, chance)
    return Play(name, entered_at, leaves_at), chance


def _exit(index: ClipIndex, name: str, entered_at: int, chance: Chance) -> tuple[int, Chance]:
    """One of the exits that were used the least, so that new ways lead on from it."""
    clip = index[name]
    exits = [place for place in clip.exits if place - entered_at >= SHORTEST_PLAY] or [clip.frames]
    uses = Counter(used.left_at for used in chance.used if used.clip == name)
    least = min(uses[place] for place in exits)
    exits = [place for place in exits if uses[place] == least]
    number, chance = chance.draw()
    return exits[int(number * len(exits))], chance


def _unused_entries(
    index: ClipIndex, name: str, current: str, left_at: int, chance: Chance
) -> list[int]:
    used = {
        transition.entered_at
        for transition in chance.used
        if (transition.clip, transition.left_at, transition.following) == (current, left_at, name)
    }
    return [place for place in _entries(index, name) if place not in used]


def _entry_used_longest_ago(
    index: ClipIndex, name: str, current: str, left_at: int, chance: Chance
) -> int:
    ways = {Transition(current, left_at, name, place): place for place in _entries(index, name)}
    newest_first = list(dict.fromkeys(used for used in reversed(chance.used) if used in ways))
    return ways[newest_first[-1]] if newest_first else 0


def _entries(index: ClipIndex, name: str) -> list[int]:
    """Where a clip may be entered with enough of it to come."""
    clip = index[name]
    return [place for place in clip.entries if place == 0 or clip.frames - place >= SHORTEST_PLAY]


def next_clip(names: Sequence[str], current: str, chance: Chance) -> tuple[str, Chance]:
    """Pick the clip that follows by the shares alone; arguments as for `next_play`."""
    if len(names) < 2:
        return (names[0] if names else current), chance
    number, chance = chance.draw()
    first, *others = names
    if len(names) == 2:
        return (first if number < FIRST_SHARE else others[0]), chance
    if current != first and number < _AFTER_ANOTHER:
        return first, chance
    if current != first:
        number = (number - _AFTER_ANOTHER) / (1 - _AFTER_ANOTHER)
    rest = [name for name in others if name != current]
    return rest[int(number * len(rest))], chance
