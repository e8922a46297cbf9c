"""Redis: what processes on several machines share.

layers       Channels' layer, made to outlive Redis' loss
publisher    … and to take many messages in one call
availability whether Redis can be reached
leases       what holders have at a time, over all machines
rates        what they did, over all machines
"""
