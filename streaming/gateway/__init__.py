"""The I/O edge of the stream.

consumer  carries out a session's effects on its WebSocket and the channel layers
routing   the stream's path
origins   which pages may open a stream
registry  the connections of this process
takeover  a session opened again on another process
"""
