"""Publishing to one Redis server: what comes while an answer is awaited goes together, next.

A call takes a round trip. One after the other they would be as few as fit into a second, whatever
the processor could do: with a server 2 ms away, the frames of 20 sessions.
"""

import asyncio
from typing import Any

from redis import asyncio as aioredis
from redis.exceptions import ConnectionError as RedisConnectionError

MOST_AT_ONCE = 100
"""Messages in a call."""

_Message = tuple[str, bytes, "asyncio.Future[None]"]
"""Channel, content, and what its sender waits for."""


class Publisher:
    """Publishes by one client, in order; lives on one event loop."""

    def __init__(self, client: aioredis.Redis) -> None:
        self._client = client
        self._waiting: list[_Message] = []
        self._sent: list[_Message] = []
        """Those of the call that is not answered."""
        self._task: asyncio.Task[None] | None = None

    async def publish(self, channel: str, content: bytes) -> None:
        """Publish a message; returns when the server has it.

        Raises:
            RedisError: It was not published.
            OSError: The same.
        """
        published: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((channel, content, published))
        if self._task is None:
            self._task = asyncio.create_task(self._publish_all(), name="redis publisher")
        await published

    def stop(self) -> None:
        """Publish no more: the client's connection is replaced."""
        if self._task is not None:
            self._task.cancel()
        lost = RedisConnectionError("the connection was replaced")
        _answer([*self._sent, *self._waiting], lost)
        self._sent, self._waiting = [], []

    async def _publish_all(self) -> None:
        while self._waiting:
            self._sent = self._waiting[:MOST_AT_ONCE]
            del self._waiting[:MOST_AT_ONCE]
            try:
                answers = await self._call()
            except Exception as error:  # noqa: BLE001 - what each sender's own call would raise
                _answer(self._sent, error)
            else:
                for message, answer in zip(self._sent, answers, strict=True):
                    _answer([message], answer if isinstance(answer, Exception) else None)
            self._sent = []
        self._task = None

    async def _call(self) -> list[Any]:
        if len(self._sent) == 1:
            ((channel, content, _),) = self._sent
            return [await self._client.publish(channel, content)]
        pipeline = self._client.pipeline(transaction=False)
        for channel, content, _ in self._sent:
            pipeline.publish(channel, content)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers


def _answer(messages: list[_Message], error: Exception | None) -> None:
    """Let the senders of messages, those that still wait, know what became of them."""
    for *_, published in messages:
        if published.done():
            continue
        if error is None:
            published.set_result(None)
        else:
            published.set_exception(error)
