"""The lip-sync engines, and where they run.

base              what an engine is
access            what sessions need of one
in_process        an engine in pool threads of this process
process           an engine in a process of its own
batcher           earliest feasible deadline first
learned_lead      how much earlier than reckoned mouths are asked for; pure
engine_selection  which engine runs
opening           the engine of a runtime, from opening to closing
viseme, musetalk  the engines
"""
