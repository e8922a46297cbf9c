"""A talking avatar for conversations by OpenAI's Realtime API, or one that speaks its events.

bridge  the server's events in; speech to the avatar, and truncations back
"""

from realtime_talking_avatar.bridge import RealtimeAvatar

__all__ = ["RealtimeAvatar"]
