"""A mouth shape on a picture.

drawn, atlas      a drawn mouth, and the pieces it is put together from
warp, warp_field  a person's own mouth, moved; where each point comes from
face_frame        the lower face in its own coordinates
mouth_interior    teeth, tongue and the dark behind them
mouth_textures    what they look like: drawn, or the person's own
tint              the light and the colors of a face
expression        brows, nod and blink of any face
eyelids           lids that shut over its eyes
"""
