"""The GPU engine: MuseTalk 1.5 with the published weights, streamed and batched over sessions.

``constants``: what the published pipeline fixes. ``audio``: sound → tokens. ``face``: a picture →
what the nets need of it, and a made face → patch (on the host byte for byte as the reference blends
it, on the device in I420 for a batch). ``nets``: the networks in plain torch, arranged for speed;
``networks``, ``weights``: from checked files on disk to nets. ``execution``: batches of few sizes,
captured graphs, streams. ``prepare``: what is kept of an avatar, made in the background or offline.
``devices``, ``device_lifecycle``, ``recovery``: loading a device, and what follows its faults;
``circuit_breaker``: a device too slow to be waited for. ``engine`` joins them. ``training``: a
decoder of fewer channels.

`engine`, `weights`, `avatar` and `boxes` do without torch; what needs it is imported when an engine
loads.
"""
