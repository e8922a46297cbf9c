"""The I/O edge of the stream.

routing          the stream's path
consumer         carries out a session's effects on its WebSocket
prompt_consumer  … which reads without a task for each message
layer_effects    … and those for workers and other gateways
waiting_effects  … as far as a slow layer lets them wait
asgi_types       what an ASGI application is given
admission        who may open a stream, and how many
leases           … over all machines
origins          which pages may open one
operator_limits  the limits of each session, by the settings
subject_speech   how much speech of one subject may wait
revocation       the end of sessions whose key or account was withdrawn
avatar_look_up   which avatar a user has
connection_log   the context of log lines, errors sent, the end
registry         the connections of this process
takeover         a session opened again on another process
resume_tokens    … and by which token
watching         a connection that watches another one's session
watch_tokens     … and by which token
mirrors          the audience of a session of another machine
relays           … and how frames get there, by `mirror_messages`
stills           what a session shows now, for staff
turns            large messages are worked on one at a time
transport        whether a client reads fast enough
workers          those that run apart, as they announce themselves
"""
