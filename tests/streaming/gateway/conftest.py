"""What every test of connections needs."""

import pytest
from channels.layers import channel_layers

from streaming.gateway import avatar_look_up, consumer
from streaming.gateway import registry as live
from streaming.gateway.registry import Registry
from tests.streaming.gateway.connections import AVATAR


@pytest.fixture
def registry(monkeypatch):
    """Layers, a registry and an avatar for one test."""
    channel_layers.backends.clear()
    fresh = Registry()
    monkeypatch.setattr(consumer, "registry", fresh)
    monkeypatch.setattr(live, "registry", fresh)
    monkeypatch.setattr(avatar_look_up, "avatar_for", lambda user_id: AVATAR)
    yield fresh
    channel_layers.backends.clear()
