"""The GPU engine: MuseTalk 1.5 with the published weights, streamed and batched over sessions.

``constants`` what the published pipeline fixes. ``mel``, ``speech``, ``silence``: sound → tokens.
``boxes``, ``latents``, ``masks``: a picture of a face → what the nets and the blending need of it.
``nets/``: the networks, in plain torch, arranged for speed. ``networks``: from files on disk,
checked, to nets. ``composition``: the reference's blending, byte for byte; ``paste``: the same on
the device, in I420, for a batch. ``avatar``: what is kept per avatar; ``preparation``,
``clip_files``, ``background``: how it is made. ``runner``: buckets and captured graphs; ``batch``:
render jobs in, patches out. ``heard``: what is carried from listening to rendering. ``devices``,
``buckets``, ``graphs``: what a GPU is, and likes. ``loaded``, ``engine``: the door of
`inference.engines.base`. ``lifetime``, ``recovery``: what follows a fault of the device;
``patience``, ``niceness``: what to expect of a slow one, and what it owes to the stream.
``beforehand``: preparing without an engine. ``weights``: which files, from where, and whether they
are right. ``recording``: sound files, for reports alone.

`engine`, `weights`, `avatar` and `boxes` do without torch; what needs it is imported when an engine
loads.
"""

import os

# On a CPU torch's threads otherwise spin while they wait for each other, and keep decoding and
# encoding from the cores: five times slower beside a stream. Read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
