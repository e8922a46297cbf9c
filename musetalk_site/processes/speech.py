"""How much speech of each subject waits in each process of the machine. No I/O, no clock."""

from collections.abc import Iterable, Mapping


class SpeechLedger:
    """What the processes said last."""

    def __init__(self) -> None:
        self._samples: dict[int, dict[str, int]] = {}
        """By the number of the process, and by subject; never 0."""

    def reported(self, process: int, samples: Mapping[str, int]) -> None:
        """Take in what has changed in a process."""
        own = self._samples.setdefault(process, {})
        own.update(samples)
        self._samples[process] = {subject: number for subject, number in own.items() if number}

    def process_ended(self, process: int) -> list[str]:
        """Forget a process that is gone; return the subjects whose speech waited there."""
        return list(self._samples.pop(process, {}))

    def subjects(self) -> list[str]:
        """Return all whose speech waits."""
        return list({subject for own in self._samples.values() for subject in own})

    def elsewhere(self, process: int, subjects: Iterable[str]) -> dict[str, int]:
        """Return what waits of these subjects in the processes other than this one."""
        others = [own for number, own in self._samples.items() if number != process]
        return {subject: sum(own.get(subject, 0) for own in others) for subject in subjects}
