"""The rules of one connection; pure: no I/O, no clock.

session           from the opening to the close: inputs are methods, results are effects
connection_state  the states, and which message belongs into which
context           what the parts of a session share
effects           what a session wants done
init_success      what INIT_SUCCESS says
resumption        how it continues on another connection
limits            what the operator allows
timers            what it waits for
rate_limit        how much a client may send
client_requests   what a client requests of an open session
clip_choice       which clip a name means
session_speech    speech: accepted, followed to the screen
incoming_speech   window and feed: what the worker is sent of it
utterances        which speech belongs together, when it begins and ends
utterance_spans   … as OpenTelemetry spans
sound_track       the sound that frames carry
worker_link       the session's worker: found, followed, replaced
claims            the search for a worker
outgoing_video    frames from the worker to the client
decodable_filter  which frames a client can decode
audience          those who watch the session, and what they are sent
watcher           one connection that watches
time_limits       how long a session may be silent, and last
metrics           what the session has done
"""
