"""H.264 access units → I420, which rooms take as it is."""

import av

from livekit_talking_avatar.playout import Picture


class PictureDecoder:
    """Decodes one stream in order."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("h264", "r")
        self._codec.thread_count = 1
        self.width = self.height = 0
        """Of the last picture."""

    def decode(self, access_unit: bytes) -> Picture | None:
        """Return the unit's picture.

        It is None if the unit is damaged. This takes milliseconds and may run in a thread.
        """
        try:
            decoded = self._codec.decode(av.Packet(access_unit))
        except av.FFmpegError:
            return None
        for frame in decoded:
            self.width, self.height = frame.width, frame.height
            return Picture(frame.to_ndarray(format="yuv420p").tobytes())
        return None
