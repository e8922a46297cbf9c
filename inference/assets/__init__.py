"""The folder of a prepared avatar.

manifest    what is in it
arrays      reads its arrays
names       what users and folders may be called
library     where folders are
clips       its pre-encoded clips, and their pictures
clip_index  the clips as the timeline sees them
writer      writes a folder
publishing  puts a complete one where readers look
mp4_export  a clip as MP4
"""
