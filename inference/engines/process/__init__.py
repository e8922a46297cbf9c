"""An engine in a process of its own, for all runtimes of a machine.

messages   what a runtime and the engine process send each other
stream     those messages on a Unix socket
server     the engine process: answers requests of all runtimes, in common batches
client     the engine as a runtime sees it
group      the engine processes of several devices, as one engine
launcher   starts the engine process, and again after it ended
"""
