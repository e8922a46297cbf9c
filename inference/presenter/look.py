"""What a presenter looks like: all in which one differs from another.

Every presenter is drawn by the same code, in the same canonical coordinates, with eyes and mouth at
the same places. A `Look` says the rest: how the head is sculpted, the colors of skin, lips, hair
and clothes, the cut of the hair, the room behind.
"""

from dataclasses import dataclass
from typing import Literal

from inference.presenter.places import Point
from inference.presenter.tones import Stops, Tones

SKIN: Stops = (
    (0.00, "5E2A22"),
    (0.20, "9A5643"),
    (0.38, "C9866B"),
    (0.55, "E3A98B"),
    (0.70, "F2C6AB"),
    (0.85, "FADCC8"),
    (1.00, "FFF0E4"),
)
"""The skin that the drawing code's colors are those of."""
LIPS: Stops = (
    (0.00, "3D1414"),
    (0.20, "6E2B2B"),
    (0.45, "9E4C49"),
    (0.60, "C06862"),
    (0.80, "DA9286"),
    (1.00, "FFE9DA"),
)
"""The lips that they are those of."""
CLOTH: Stops = (
    (0.00, "061318"),
    (0.25, "0F2A33"),
    (0.50, "1D4A57"),
    (0.72, "34707C"),
    (1.00, "83B4B6"),
)
"""The jacket that they are those of."""


@dataclass(frozen=True, slots=True)
class Beard:
    """A short full beard."""

    color: str
    shine: str
    """Of the hairs in the light."""
    density: float
    """0..1."""


@dataclass(frozen=True, slots=True)
class FaceShape:
    """How the head is sculpted. Heights and widths in canonical pixels, scales as parts of 1."""

    contour: tuple[Point, ...]
    """The outline of the face, a little uneven as faces are."""
    brow_ridge: float = 3.4
    cheekbone: float = 8.5
    jaw: float = 2.5
    chin: tuple[float, float] = (17.0, 7.5)
    """Half width and height."""
    nose: float = 1.0
    """Width of bridge, tip and wings."""
    bridge: float = 1.0
    """Height."""
    neck: float = 1.0
    """Width."""
    throat: float = 0.0
    """Height of the Adam's apple."""
    blush: float = 1.0
    rim: float = 0.34
    """Light from behind on the edge that is turned away from the key."""
    gloss: float = 0.10
    has_mole: bool = True
    has_earring: bool = True
    beard: Beard | None = None


@dataclass(frozen=True, slots=True)
class EyeLook:
    """Eyes and brows; scales as parts of 1."""

    iris: tuple[str, str, str, str] = ("B08A4E", "8C7A45", "56603C", "2C3527")
    """From the pupil outwards."""
    rays: tuple[str, str] = ("E2C98C", "2E2A1C")
    opened: float = 1.0
    """How far the upper lid is up."""
    lashes: float = 1.0
    """Length."""
    margin: float = 1.0
    """Width of the dark line at their roots."""
    brow_thickness: float = 1.0
    brow_arch: float = 1.0
    brow_drop: float = 0.0
    """How much lower the brows are, canonical pixels."""
    brow_tones: tuple[str, str, str] = ("5A3826", "3A2116", "7A5238")
    """Under the hairs, and of the hairs from dark to light."""


@dataclass(frozen=True, slots=True)
class LipShape:
    """The closed mouth, canonical pixels."""

    half_width: float = 31.5
    upper: float = 8.6
    """Thickness of the upper lip."""
    lower: float = 11.4


@dataclass(frozen=True, slots=True)
class HairLook:
    """The cut and color of the hair."""

    cut: Literal["long", "cropped"]
    tones: tuple[str, str, str, str] = ("25140E", "54301F", "8A5837", "E0A873")
    """Dark, middle, light, and what shines."""


@dataclass(frozen=True, slots=True)
class Clothes:
    """A jacket over a top without a collar."""

    jacket: Tones
    top: Stops
    neckline: tuple[Point, ...]
    build: float = 1.0
    """Width of the shoulders."""


@dataclass(frozen=True, slots=True)
class Room:
    """The colors of the room."""

    wall: tuple[str, str, str]
    window: str
    curtain: str
    shelf: tuple[str, str]
    books: tuple[str, ...]
    leaves: tuple[str, str]
    lamp: tuple[str, str]
    """Its glow and its middle."""


@dataclass(frozen=True, slots=True)
class Look:
    """One presenter."""

    name: str
    """Of the avatar, and of its asset folder."""
    skin: Tones
    palm: Tones
    """The skin of the hands' inner sides."""
    lips: Tones
    face: FaceShape
    eyes: EyeLook
    mouth: LipShape
    hair: HairLook
    clothes: Clothes
    room: Room
    clips: tuple[str, ...] | None = None
    """Names of the clips that are made; None: all."""
