"""The shipped presenters, drawn by code alone.

looks, look              the presenters, and all in which one differs from another
build                    draws all clips, measures where they may be left, encodes
clips, motion            what happens in each clip, and how she moves in it
pose, places             a pose, and where eyes and mouth are
scene                    the layers of a picture
background, body, hands  the room, the clothes, the gestures
head, eyes, lips, teeth  the face
hair, beard              hair
paint, relief, tones     strokes, light, and colors
atlas                    the drawn mouth's pieces
sheet                    the picture of the README

Drawing them needs `requirements-drawing.txt`; showing them does not.
"""
