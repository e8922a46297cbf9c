"""The networks in plain torch: the published arithmetic, arranged for speed.

Parameter names are the published ones wherever a tensor is used as it is; where several are folded
into one (a constant timestep, queries with keys and values) a function beside the net says how.
All take and give channels-last tensors happily, none has a branch that depends on values, and the
shapes of one batch size never change: fit for graph capture.
"""
