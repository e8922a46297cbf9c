"""The GPU engine: MuseTalk 1.5 with the published weights, streamed and batched over sessions.

engine            joins the parts
constants         what the published pipeline fixes
audio             sound → tokens
face              a picture → what the nets need of it, and a made face → patch
nets              the networks in plain torch, arranged for speed
weights           which files there must be, and whether they are right
networks, loaded  from those files to nets, and those on a device
execution         batches of few sizes, on two queues of work
recording         a CUDA graph: what a device is given to do, recorded
prepare           what is kept of an avatar, made in the background or offline
devices           what differs between CPU, CUDA and Metal
device_lifecycle  from load to fault to load
recovery          when to load again, and when to give up
circuit_breaker   a device too slow to be waited for
free_memory       what the machine has left
training          a decoder of fewer channels; a tool

`engine`, `weights`, `avatar` and `boxes` do without torch; what needs it is imported when an engine
loads.
"""
