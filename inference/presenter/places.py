"""Where eyes and mouth are, in every face: the canonical coordinates that all parts share."""

Point = tuple[float, float]

EYE_LEFT, EYE_RIGHT = (216.0, 192.0), (296.5, 191.2)
MOUTH = (256.5, 274.0)
