"""From what a person filmed to an avatar's folder.

prepare          the stages, in order
footage          any video or picture as upright RGB, 25 a second
heif             the tiles of a phone's photograph, and how it is turned
normalization    one decoded picture as a player shows it
tone_mapping     HDR and wide gamuts as a standard screen shows them
color_profile    photographs with an ICC profile in sRGB
orientation      which way up it is, by the face
track            one person's face through a video
camera           how the camera moved
covering         whether something is before the mouth
quality          which pictures are good enough, and what to tell the person
framing          the square that becomes the picture
material         several videos as one row of pictures
choose           which stretches become which clips
titles           what to call them
cut              all clips begin and end in the same picture
still            life for a still picture
lip_line         where the lips of a still picture meet
eye_outline      eyes of a still picture that are larger than people's
quiet            mouths that are shut
open_mouth       what is between lips, taken out
transplant       shut mouths of the same video over those that were wide open
teeth            a person's own, where they are seen
store            pictures on disk between two stages
report, preview  the findings, and a short video that speaks
"""
