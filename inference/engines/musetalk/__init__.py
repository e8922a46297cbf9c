"""The GPU engine: MuseTalk 1.5 with the published weights, streamed and batched over sessions.

``constants`` what the published pipeline fixes. ``mel``, ``speech``: sound → tokens. ``boxes``,
``latents``, ``masks``: a picture of a face → what the nets and the blending need of it.
``nets/``: the networks, in plain torch, arranged for speed. ``networks``: from files on disk,
checked, to nets. ``composition``: the reference's blending, byte for byte; ``paste``: the same on
the device, in I420, for a batch. ``avatar``, ``preparation``: what is kept per avatar.
``runner``: batches, buckets, captured graphs. ``engine``: the door of `inference.engines.base`.
``weights``: which files, from where, and whether they are right.

Nothing here imports torch until an engine is made: the modules that do are imported inside
functions by `engine`.
"""
