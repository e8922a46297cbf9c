"""A decoder of fewer channels, fitted to the published one.

decoder          the command
samples          latents of prepared avatars
fitting          the fit
quality, report  how near it is
narrow_files     written into a model tree
"""
