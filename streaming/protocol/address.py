"""The path of a stream."""

STREAM_PREFIX = "/musetalk/v1/ws/"
STREAM_PATH = STREAM_PREFIX + "{user_id}"
