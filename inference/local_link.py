"""Messages between a gateway and a worker of one process, without a channel layer.

A claim goes over the layer in every shape of the service, since any worker may take it. What
follows, sound and frames, would be copied and hop through a task at each end, 25 times a second for
each session, only to arrive where it came from. So a receiver of messages in this process
listens here under its channel's name, and who sends looks here first.

Receiving never blocks and never raises: it is called in the middle of the sender's work.
"""

from collections.abc import Callable
from contextvars import Context

from inference.messages import LayerMessage

Receive = Callable[[LayerMessage], None]
ReservePlace = Callable[[str], bool]
"""Of a claim id: whether its session may begin to speak."""


class LocalLink:
    """The receivers of one process, by channel. Lives on one event loop."""

    def __init__(self) -> None:
        self._receivers: dict[str, Receive] = {}
        self._reserve: dict[str, ReservePlace] = {}

    def listen(
        self, channel: str, receive: Receive, reserve_place: ReservePlace | None = None
    ) -> None:
        """Hand messages for ``channel`` to ``receive`` from now on.

        Args:
            channel: A gateway's or a worker's.
            receive: Takes its messages.
            reserve_place: A worker's answer to whether a session may begin to speak.
        """
        self._receivers[channel] = receive
        if reserve_place is not None:
            self._reserve[channel] = reserve_place

    def leave(self, channel: str) -> None:
        """Nobody listens on ``channel`` any more."""
        self._receivers.pop(channel, None)
        self._reserve.pop(channel, None)

    def reserve_place(self, channel: str, claim_id: str) -> bool | None:
        """Whether a session may begin to speak at the worker on ``channel``.

        Returns:
            None: the worker is elsewhere.
        """
        reserve = self._reserve.get(channel)
        return None if reserve is None else reserve(claim_id)

    def has(self, channel: str) -> bool:
        """Whether there is a listener on ``channel`` in this process."""
        return channel in self._receivers

    def send(self, channel: str, message: LayerMessage) -> bool:
        """Hand a message over.

        Returns:
            Whether the channel is of this process; otherwise the layer must carry it.
        """
        receive = self._receivers.get(channel)
        if receive is None:
            return False
        # The receiver's log lines, and callbacks that it begins, are not the sender's.
        Context().run(receive, message)
        return True


link = LocalLink()
"""Of this process."""
