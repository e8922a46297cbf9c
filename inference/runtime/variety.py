"""Which clip of a state comes next, as long as the client chose none.

An avatar that loops one clip looks like a recording. So the clips of a state follow each other at
random: the first one, the calmest, 40 % of the time, never the same twice in a row where there are
three or more.

Let f be the share of the first clip and q its chance after another clip. It never follows itself,
so f = (1 - f) q, and q = f / (1 - f).

Pure: the source of chance is a number that goes in and comes out.
"""

from collections.abc import Sequence

FIRST_SHARE = 0.4
_AFTER_ANOTHER = FIRST_SHARE / (1 - FIRST_SHARE)

# The generator of Knuth's MMIX: x <- a x + c mod 2^64, of which the upper bits are used.
_MULTIPLIER, _INCREMENT, _BITS = 6364136223846793005, 1442695040888963407, 64


def next_clip(names: Sequence[str], current: str, seed: int) -> tuple[str, int]:
    """Pick the clip that follows.

    Args:
        names: The clips of the state that may be shown; the first is the calmest.
        current: The clip that ends.
        seed: The source of chance.

    Returns:
        The next clip, ``current`` if there is no other, and the next seed.
    """
    if len(names) < 2:
        return (names[0] if names else current), seed
    seed = (seed * _MULTIPLIER + _INCREMENT) % 2**_BITS
    chance = (seed >> 11) / 2**53
    first, *others = names
    if len(names) == 2:
        return (first if chance < FIRST_SHARE else others[0]), seed
    if current != first and chance < _AFTER_ANOTHER:
        return first, seed
    if current != first:
        chance = (chance - _AFTER_ANOTHER) / (1 - _AFTER_ANOTHER)
    rest = [name for name in others if name != current]
    return rest[int(chance * len(rest))], seed
