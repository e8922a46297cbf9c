"""Queued preparations, each in a process of its own.

runner      starts them, one after the other
limits      what one of them may use of the machine
stage_times how long its stages take
"""
