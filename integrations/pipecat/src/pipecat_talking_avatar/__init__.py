"""A talking avatar in a pipecat pipeline, from a talking avatar server of one's own.

service   the pipeline's processor: voice in, pictures and voice in step out
segment   a stretch of voice on its way to the server
script    what waits for its place in the voice; pure
"""

from pipecat_talking_avatar.service import TalkingAvatarService

__all__ = ["TalkingAvatarService"]
