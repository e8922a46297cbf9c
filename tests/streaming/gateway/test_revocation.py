"""Sessions end with the key or the account behind them."""

import asyncio
from unittest.mock import Mock

from django.db import InterfaceError, OperationalError

from avatars_app.access.principal import Principal, Source
from streaming.gateway import revocation
from streaming.gateway.registry import Registry
from streaming.gateway.revocation import RevocationWatch

KEY, USER = Source("key", 1), Source("user", 2)


def connection_of(source: Source | None) -> Mock:
    principal = None if source is None else Principal("ann", source=source)
    return Mock(principal=principal)


async def test_what_was_withdrawn_ends_after_failures_too(monkeypatch, settings):
    settings.AUTH = True
    answers = [OperationalError("away"), InterfaceError("closed"), RuntimeError("ours"), {KEY}]
    monkeypatch.setattr(revocation, "CHECK_EVERY_S", 0.01)
    monkeypatch.setattr(revocation, "withdrawn", Mock(side_effect=answers))
    registry, is_revoked = Registry(), asyncio.Event()
    withdrawn, kept, open_to_all = map(connection_of, (KEY, USER, None))
    withdrawn.revoke.side_effect = is_revoked.set
    for connection in (withdrawn, kept, open_to_all):
        registry.enter(connection)
    watch = RevocationWatch(registry)
    watch.start()
    try:
        await asyncio.wait_for(is_revoked.wait(), 5)
    finally:
        watch.stop()
    kept.revoke.assert_not_called()
    open_to_all.revoke.assert_not_called()
