"""Runs a fuzzer in batches, each with a seed of its own, in one process or in several."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

Fuzz = Callable[[int, int], tuple[int, list[str]]]
"""A seed and a size; how much was counted, and the escapes."""


def in_batches(
    fuzz: Fuzz, sizes: Sequence[int], *, processes: int, first_seed: int
) -> tuple[int, list[str]]:
    """What all batches counted, and all their escapes."""
    seeds = range(first_seed, first_seed + len(sizes))
    if processes == 1:
        found = [fuzz(*batch) for batch in zip(seeds, sizes, strict=True)]
    else:
        with ProcessPoolExecutor(processes) as pool:
            found = list(pool.map(fuzz, seeds, sizes))
    return sum(count for count, _ in found), [escape for _, kept in found for escape in kept]
