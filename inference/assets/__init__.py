"""The folder of a prepared avatar.

manifest    what is in it
library     where folders are
clips       its pre-encoded clips, and their pictures
clip_index  the clips as the timeline sees them
writer      writes a folder
mp4_export  a clip as MP4
"""
