"""A process's sessions: which frame is due, and how it is made in time.

host           all sessions, one clock, one engine
host_report    what a host does at a moment, for /health and metrics
session        one session: frames are planned, made and sent
planner        from speech and requests to planned frames
timeline       which picture is due next, with which mouth, from which source; pure
variety        which clip follows by chance
mouth          the state of the mouth
speech_queue   PCM in, frame-aligned windows out
due_times      when received speech is due
frame_queue    planned frames on their way out
concealment    what replaces a mouth that is late
mouth_pace     how many mouths are made while frames are late
live_stream    a session's live frames: its requests and their outcomes
pipeline       engine calls, pictures, encoding, off the event loop
deadlines      what happens when
clock          the monotonic clock
avatar_cache   avatars in memory
capacity       who may speak, and who is admitted
calibration    what a speaking frame costs here, measured at the first start
learned_places how many can speak at once, corrected while they do
speech_spans   a worker's part of an utterance's spans
worker_outbox  messages to a gateway, in order
"""
