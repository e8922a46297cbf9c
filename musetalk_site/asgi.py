"""ASGI entry point and composition root: pages, streams, channel-layer consumers."""

import os
import sys

from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from django.conf import settings
from django.core.asgi import get_asgi_application

from musetalk_site.configuration.environment import CannotStart
from musetalk_site.middleware.proxies import TrustedProxies
from musetalk_site.middleware.trailing_slash import TrailingSlash

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "musetalk_site.settings")
try:
    pages = get_asgi_application()
except CannotStart as error:
    sys.exit(f"Cannot start: {error}")

# These import models, which Django must have set up first.
from inference.messages import INFERENCE_CHANNEL
from inference.worker import InferenceConsumer
from musetalk_site.telemetry.probes import Probes
from streaming.gateway.routing import streams
from streaming.history import writer

writer.install()
application = TrustedProxies(
    TrailingSlash(
        ProtocolTypeRouter(
            {
                "http": Probes(pages),
                "websocket": streams,
                "channel": ChannelNameRouter({INFERENCE_CHANNEL: InferenceConsumer.as_asgi()}),
            }
        )
    ),
    settings.TRUSTED_PROXIES,
)
