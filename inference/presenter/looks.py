"""The presenters that are shipped."""

from inference.presenter.look import (
    CLOTH,
    LIPS,
    SKIN,
    Beard,
    Clothes,
    EyeLook,
    FaceShape,
    HairLook,
    LipShape,
    Look,
    Room,
)
from inference.presenter.tones import Tones

PRESENTER = Look(
    name="presenter",
    skin=Tones(SKIN, SKIN),
    palm=Tones(SKIN, SKIN),
    lips=Tones(LIPS, LIPS),
    face=FaceShape(
        contour=(
            (256, 84), (207, 91), (177, 126), (169, 172), (170.5, 214), (177, 248), (193, 283),
            (218, 310), (240, 323.5), (256, 326), (273, 323), (295, 309), (319, 282), (334, 248),
            (341.5, 214), (343, 172), (336, 126), (306, 91),
        ),
    ),
    eyes=EyeLook(),
    mouth=LipShape(),
    hair=HairLook("long"),
    clothes=Clothes(
        jacket=Tones(CLOTH, CLOTH),
        top=(
            (0.00, "8E7A6E"),
            (0.30, "C6B4A6"),
            (0.55, "E6DACE"),
            (0.78, "F7F0E8"),
            (1.00, "FFFFFF"),
        ),
        neckline=(
            (188, 372), (206, 398), (232, 420), (257, 428), (282, 420), (307, 397), (324, 371),
        ),
    ),
    room=Room(
        wall=("E9E2D8", "CFC6BC", "9C9690"),
        window="F7FAFA",
        curtain="E4D9CB",
        shelf=("8A6C55", "7D604A"),
        books=(
            "B86F52", "3F6470", "D9B98C", "6E7F6A", "9E4A3E", "C9CDC8", "31505C", "C99A5B",
        ),
        leaves=("55704F", "6E8A5E"),
        lamp=("FFDFA8", "FFF6DC"),
    ),
)  # fmt: skip
"""A woman with long brown hair, in a bright room."""

NARRATOR = Look(
    name="narrator",
    skin=Tones(
        SKIN,
        (
            (0.00, "1F0F0B"),
            (0.20, "43261B"),
            (0.38, "6B402E"),
            (0.55, "8D5B42"),
            (0.70, "AB7657"),
            (0.85, "C79471"),
            (1.00, "E6BF9F"),
        ),
    ),
    palm=Tones(
        SKIN,
        (
            (0.00, "30180F"),
            (0.20, "5C3727"),
            (0.38, "86563F"),
            (0.55, "A87559"),
            (0.70, "C18F71"),
            (0.85, "D6AB8D"),
            (1.00, "ECCDB4"),
        ),
    ),
    lips=Tones(
        LIPS,
        (
            (0.00, "1E0C0A"),
            (0.20, "3B1C18"),
            (0.45, "643833"),
            (0.60, "80493F"),
            (0.80, "A0685A"),
            (1.00, "D9A994"),
        ),
    ),
    face=FaceShape(
        contour=(
            (256, 82), (207, 88), (176, 122), (167.5, 170), (168.5, 214), (174, 252), (187, 287),
            (212, 314), (238, 327.5), (256, 329), (275, 327), (300, 313), (325, 286), (337.5, 252),
            (343.5, 214), (345, 170), (337, 122), (306, 88),
        ),
        brow_ridge=5.4,
        cheekbone=7.2,
        jaw=4.6,
        chin=(19.0, 8.4),
        nose=1.38,
        bridge=0.98,
        neck=1.17,
        throat=4.0,
        blush=0.55,
        rim=0.20,
        gloss=0.11,
        has_mole=False,
        has_earring=False,
        beard=Beard(color="17100D", shine="4A3A30", density=0.85),
    ),
    eyes=EyeLook(
        iris=("5E3A20", "46291A", "2E1A11", "150C08"),
        rays=("8A5A34", "1A0F0A"),
        opened=0.88,
        lashes=0.4,
        margin=0.42,
        brow_thickness=1.5,
        brow_arch=0.6,
        brow_drop=1.6,
        brow_tones=("1B110D", "120B08", "33241C"),
    ),
    mouth=LipShape(half_width=32.5, upper=8.4, lower=11.2),
    hair=HairLook("cropped", ("0B0807", "1C1512", "3A2E28", "7A6A60")),
    clothes=Clothes(
        jacket=Tones(
            CLOTH,
            (
                (0.00, "080A0F"),
                (0.25, "151A24"),
                (0.50, "29313F"),
                (0.72, "465165"),
                (1.00, "9CA8BB"),
            ),
        ),
        top=(
            (0.00, "5C5148"),
            (0.30, "93867A"),
            (0.55, "B9AEA2"),
            (0.78, "D6CDC2"),
            (1.00, "EFE9E0"),
        ),
        neckline=(
            (188, 372), (205, 388), (230, 398), (257, 402), (283, 398), (308, 387), (324, 371),
        ),
        build=1.07,
    ),
    room=Room(
        wall=("C9D3D8", "A3B0B8", "6C7883"),
        window="F4F8FB",
        curtain="B9C4C9",
        shelf=("5D6B74", "525F68"),
        books=(
            "4A6B7C", "D9C7A4", "8C4F3C", "A9B7BD", "37474F", "C08A4E", "7F9A94", "5C5470",
        ),
        leaves=("49675A", "63836F"),
        lamp=("FFD9A0", "FFF2D6"),
    ),
    clips=(
        "idle_0", "idle_1", "idle_2", "idle_3",
        "speaking_0", "speaking_2", "speaking_3", "speaking_7",
        "action_1",
    ),
)  # fmt: skip
"""A man with cropped black hair and a beard, in a cooler room."""

LOOKS = {look.name: look for look in (PRESENTER, NARRATOR)}
