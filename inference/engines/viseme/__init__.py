"""The default engine: sound → mouth shape by a small net → the mouth drawn or warped on a CPU."""
