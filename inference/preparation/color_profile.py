"""Photographs in colors that an ICC profile describes, shown in sRGB.

Phones store pictures in Display P3 and cameras in Adobe RGB. Taken as sRGB, their numbers make
pale skin and gray lips.
"""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from inference.faces.tflite import RgbPicture


def embedded_profile(path: Path) -> bytes | None:
    """Return the ICC profile in a JPEG, PNG, WebP or TIFF."""
    try:
        # Pillow warns of large pictures; how large they may be is judged before.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            profile = image.info.get("icc_profile")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # whether there is a picture in it, its decoder says
    return profile if isinstance(profile, bytes) else None


def to_srgb(picture: RgbPicture, profile: bytes | None) -> RgbPicture:
    """Return the picture in sRGB; as it is if the profile is none, damaged, or not of RGB.

    Args:
        picture: uint8 ``[height, width, 3]``, RGB.
        profile: An ICC profile.
    """
    if profile is None:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != "RGB":
            return picture
        shown = ImageCms.profileToProfile(
            Image.fromarray(picture), source, ImageCms.createProfile("sRGB")
        )
    except (ImageCms.PyCMSError, OSError):
        return picture
    return np.asarray(shown, np.uint8)
