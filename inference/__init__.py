"""Sessions' frames: planning, lips, pictures, encoding; and the preparation of avatars.

messages     what crosses the channel layer
worker       the consumer at the edge of the channel layers
runtime      a process's sessions: which frame is due, and how it is made in time
preparation  people's videos become avatars
presenter    draws the shipped avatars; a tool
engines      what makes lips: viseme on a CPU, MuseTalk on a GPU
assets       the folder of an avatar: manifest, clips
faces        face detection and landmarks
media        pictures, patches, encoding, resampling
loop_calls   what other threads ask of the thread of an event loop
local_link   messages between a gateway and a worker of one process
core_turns   as many frames are worked on at once as there are cores
late_steps   how load is answered: steps up while too much is late, and down again
errors, timing, metrics, tracing     what all of them speak of
cores, malloc, process_settings, restarts, reachability   the process, its machine and servers
"""
