"""The I/O edge of the stream.

consumer  carries out a session's effects on its WebSocket
layer_effects  … and those for workers and other gateways
routing   the stream's path
admission who may open a stream, and how many
revocation the end of sessions whose key or account was withdrawn
operator_limits  the limits of each session, by the settings
origins   which pages may open a stream
avatar_look_up  which avatar a user has
connection_log  the context of log lines, errors sent, the end
registry  the connections of this process
takeover  a session opened again on another process
watching  a connection that watches another one's session
mirrors   the audience of a session of another machine; relays and mirror_messages: how it gets here
turns     large messages are worked on one at a time
transport whether a client reads fast enough
workers   those that run apart, as they announce themselves
"""
