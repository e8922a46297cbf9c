"""The GPU engine: MuseTalk 1.5 with the published weights, streamed and batched over sessions.

``constants`` what the published pipeline fixes. ``mel``, ``speech``, ``silence``: sound → tokens.
``boxes``, ``latents``, ``masks``: a picture of a face → what the nets and the blending need of it.
``nets/``: the networks, in plain torch, arranged for speed. ``networks``: from files on disk,
checked, to nets. ``composition``: the reference's blending, byte for byte; ``paste``: the same on
the device, in I420, for a batch. ``avatar``: what is kept per avatar; ``preparation``,
``clip_files``, ``background``: how it is made. ``runner``: buckets and captured graphs; ``batch``:
render jobs in, patches out. ``loaded``, ``engine``: the door of `inference.engines.base`.
``weights``: which files, from where, and whether they are right. ``recording``: sound files, for
reports alone.

`engine`, `weights`, `avatar` and `boxes` do without torch; what needs it is imported when an engine
loads.
"""
