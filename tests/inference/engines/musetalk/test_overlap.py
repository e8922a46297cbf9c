"""Two batches under way on two streams: whatever order a device works in, nothing is mixed up.

A simulated device does what was queued later, in any order that streams and events allow. Memory
is as on a GPU: each half of a batch writes where the same half of the one before it wrote.
"""

import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from inference.engines.musetalk.execution.overlap import Overlap, WorkQueue


@dataclass(eq=False)
class Event:
    has_happened: bool = False


@dataclass(eq=False)
class Stream:
    """Work in order; None in ``work`` is an event that is waited for."""

    name: str
    work: list[tuple[Event | None, Callable[[], None]]] = field(default_factory=list)

    def record_event(self) -> Event:
        event = Event()

        def happen() -> None:
            event.has_happened = True

        self.work.append((None, happen))
        return event

    def wait_event(self, event: Event) -> None:
        self.work.append((event, lambda: None))


class Device:
    """Two streams, and what is in memory. ``enter`` says where work is queued."""

    def __init__(self) -> None:
        self.first, self.second = Stream("first"), Stream("second")
        self.current: Stream | None = None
        self.memory: dict[str, object] = defaultdict(lambda: "what was there before")
        self.order: list[str] = []

    @contextmanager
    def enter(self, stream: Stream):
        before, self.current = self.current, stream
        yield
        self.current = before

    def launch(self, name: str, work: Callable[[], None]) -> None:
        def run() -> None:
            self.order.append(name)
            work()

        self.current.work.append((None, run))

    def work_off(self, choose: Callable[[list[Stream]], Stream]) -> None:
        while True:
            able = [
                stream
                for stream in (self.first, self.second)
                if stream.work and (stream.work[0][0] is None or stream.work[0][0].has_happened)
            ]
            if not able:
                assert not self.first.work
                assert not self.second.work
                return
            choose(able).work.pop(0)[1]()


class Batches:
    """The runner's way with memory: ``hidden`` and ``taken`` are one place each for all batches."""

    def __init__(self, device: Device, overlap: Overlap) -> None:
        self.device, self.overlap = device, overlap
        self.shown: dict[int, object] = {}

    def queue(self, number: int) -> None:
        device = self.device

        def half(name: str, to: str, of: str | None) -> None:
            """In pieces, as a net writes over its own memory before it gives its result."""

            def begin() -> None:
                device.memory[to] = "unfinished"

            def end() -> None:
                value = number if of is None else device.memory[of]
                device.memory[to] = (name, value)

            device.launch(f"{name} {number} begins", begin)
            device.launch(f"{name} {number}", end)

        def take(made: object) -> object:
            def copy() -> None:
                device.memory["taken"] = device.memory["hidden"]

            device.launch(f"take {number}", copy)
            return made

        def finish(made: object) -> None:
            half("decoder", "pixels", "taken")

            def show() -> None:
                self.shown[number] = device.memory["pixels"]

            device.launch(f"show {number}", show)

        self.overlap.run(lambda: half("unet", "hidden", None), take, finish)


def wanted(count: int) -> dict[int, object]:
    return {number: ("decoder", ("unet", number)) for number in range(count)}


def made(count: int, choose: Callable[[list[Stream]], Stream], overlap=Overlap, is_on=True):
    device = Device()
    batches = Batches(device, overlap(device.first, device.second, device.enter))
    batches.overlap.is_on = is_on
    for number in range(count):
        batches.queue(number)
    device.work_off(choose)
    return batches.shown, device.order


@pytest.mark.parametrize("is_on", [True, False])
def test_every_order_a_device_may_work_in_gives_the_same(is_on):
    for seed in range(500):
        shown, order = made(4, random.Random(seed).choice, is_on=is_on)
        assert shown == wanted(4), order
    for choose in (lambda able: able[0], lambda able: able[-1]):
        assert made(4, choose, is_on=is_on)[0] == wanted(4)


def test_the_unet_of_a_batch_runs_beside_the_decoder_of_the_one_before():
    _, order = made(2, lambda able: able[0])
    assert order.index("unet 1") < order.index("decoder 0 begins")
    assert order.index("take 0") < order.index("unet 1 begins")
    _, order = made(2, lambda able: able[0], is_on=False)
    assert order.index("show 0") < order.index("unet 1 begins")


class WithoutTaken(Overlap):
    """The next first half does not wait."""

    def run(self, make, take, finish):
        self._taken = self._ended = None
        return super().run(make, take, finish)


class DeafStream:
    """A second stream that does not wait for the first."""

    def __init__(self, stream: WorkQueue) -> None:
        self.record_event = stream.record_event

    def wait_event(self, event: Event) -> None:
        return None


class WithoutMade(Overlap):
    """The second half does not wait for the first."""

    def run(self, make, take, finish):
        real, self._second = self._second, DeafStream(self._second)
        try:
            enter, self._enter = self._enter, lambda s: enter(real if s is not self._first else s)
            return super().run(make, take, finish)
        finally:
            self._second, self._enter = real, enter


@pytest.mark.parametrize("broken", [WithoutTaken, WithoutMade])
def test_the_simulated_device_sees_a_rule_that_is_missing(broken):
    found = [made(3, random.Random(seed).choice, broken)[0] for seed in range(200)]
    assert any(shown != wanted(3) for shown in found)


@pytest.mark.parametrize("step", ["make", "take", "finish"])
def test_a_batch_that_fails_does_not_harm_the_next(step):
    for seed in range(50):
        device = Device()
        overlap = Overlap(device.first, device.second, device.enter)
        batches = Batches(device, overlap)
        batches.queue(0)

        def fail(*_: object, at: str, now: str) -> object:
            if at == now:
                raise RuntimeError("CUDA out of memory")
            return None

        with pytest.raises(RuntimeError):
            overlap.run(
                lambda: fail(at=step, now="make"),
                lambda made: fail(at=step, now="take"),
                lambda taken: fail(at=step, now="finish"),
            )
        batches.queue(2)
        device.work_off(random.Random(seed).choice)
        assert batches.shown == {key: wanted(3)[key] for key in (0, 2)}
