"""What the engine keeps of an avatar.

avatar       latents, masks and places of every picture
preparation  how they are made of a clip
encoding     its nets, on small batches
threads      doing something for many items, a little ahead
clip_files   one clip of a folder
background   beside the stream, those in use first
offline      whole avatars, without an engine beside
"""
