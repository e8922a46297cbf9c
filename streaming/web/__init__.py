"""HTTP beside the stream.

views         /health, /sessions
health        the state of this process and its workers
watch_tokens  another token that lets others watch
pages         the studio, the protocol page
reference     the messages as people read them
"""
