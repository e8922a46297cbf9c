"""The head's skin: face, ears and neck, sculpted and lit, without eyes, brows, mouth and hair."""

import cv2
import numpy as np
import skia
from numpy.typing import NDArray

from inference.presenter import beard, relief
from inference.presenter.look import FaceShape, Look
from inference.presenter.paint import (
    SCALE,
    Field,
    Rgba,
    clip,
    coordinates,
    coverage,
    linear,
    oval,
    paint,
    put,
    spline,
    texture,
    with_alpha,
)
from inference.presenter.places import EYE_LEFT, EYE_RIGHT
from inference.presenter.tones import Stops, Tones


def contour(face: FaceShape) -> skia.Path:
    return spline(face.contour, closed=True)


def face_height(face: FaceShape) -> Field:
    """How far the face comes forward, canonical pixels; the ears' plane is 0."""
    hill = relief.hill
    skull = np.maximum(relief.dome(256, 178, 92, 104, 82), relief.dome(256, 222, 92, 110, 78))
    height = relief.soften(np.maximum(skull, relief.dome(256, 262, 66, 72, 74)), 9)
    for side, eye in ((-1, EYE_LEFT), (1, EYE_RIGHT)):
        x, y = eye
        height = height + hill(
            x + side * 2, y - 24, 23, 7, face.brow_ridge, side * 0.16
        )  # brow ridge
        height = height + hill(x - side * 3, y - 1, 23, 12.5, -8.5)  # socket
        height = height + hill(x - side * 19, y + 3, 7, 10, -4)  # inner corner
        height = height + hill(x, y + 0.5, 15.5, 9.5, 6.5)  # eyeball under the lids
        height = height + hill(256 + side * 50, 226, 22, 17, face.cheekbone, -side * 0.45)
        height = height + hill(256 + side * 47, 262, 13, 25, -3.4, side * 0.25)  # below it
        height = height + hill(256 + side * 78, 165, 14, 30, -4)  # temple
        height = height + hill(
            256 + side * 12.5 * face.nose, 240, 5.6 * face.nose, 5.0, 6.4
        )  # wing of the nose
        height = height + hill(256 + side * 5.2, 258, 2.6, 7, 1.2)  # ridges of the philtrum
        height = height + hill(256 + side * 27, 252, 5, 15, -2.0, -side * 0.62)  # nasolabial
        height = height + hill(256 + side * 39, 275, 5, 6, -2.2)  # corners of the mouth
        height = height + hill(256 + side * 35, 303, 20, 13, face.jaw, -side * 0.5)  # jaw
    height = height + _nose(face)
    height = height + hill(256, 258, 2.4, 8, -1.6)  # philtrum
    height = height + hill(256, 272, 30, 18, 6.5)  # muzzle
    height = height + hill(256, 294, 19, 4.5, -4.6)  # under the lower lip
    height = height + hill(255.5, 311, face.chin[0], 9.5, face.chin[1])  # chin
    height = height + hill(256, 128, 52, 26, 4)  # forehead
    return np.asarray(height, np.float32)


def _nose(face: FaceShape) -> Field:
    x, y = coordinates()
    down = np.clip((y - 166) / (236 - 166), 0, 1)
    rise = (2 + 21 * down**1.5) * face.bridge
    rise *= 1 - np.clip((y - 237) / 12, 0, 1) ** 1.4
    fade = np.clip((y - 158) / 22, 0, 1)
    width = (6.3 + 4.2 * down**2) * face.nose
    bridge = rise * fade * np.exp(-0.5 * ((x - 256) / width) ** 2)
    soft = relief.soften(np.asarray(bridge, np.float32), 1.6)
    return np.asarray(soft + relief.hill(256, 234, 8.6 * face.nose, 7.4, 5.5), np.float32)


def shade(
    height: Field, skin: Stops, *, hollows: float = 1.0, gloss: float = 0.10
) -> NDArray[np.float32]:
    """Lit skin, colors 0..1 ``[height, width, 3]``; ``gloss``: how much of the light it mirrors."""
    normal = relief.normals(relief.soften(height, 0.8))
    light = 0.20 + 0.60 * relief.lit(normal, relief.KEY, 0.35)
    light += 0.15 * relief.lit(normal, relief.FILL, 0.2)
    hollow = relief.soften(height, 7) - height
    light -= hollows * 0.016 * np.clip(hollow, 0, 8) + 0.006 * np.clip(hollow, -6, 0)
    color = relief.ramp(np.asarray(light, np.float32), skin)
    color += gloss * relief.glint(normal, relief.KEY, 24)[..., None]
    return np.asarray(color, np.float32)


def face(look: Look) -> Rgba:
    """Return the face's texture."""
    shape = look.face
    height = face_height(shape)
    color = _tint(shade(height, look.skin.own, gloss=shape.gloss), shape.blush)
    edge = coverage(contour(shape))
    # Light from behind on the edge that is turned away from the key.
    inner = cv2.GaussianBlur(edge, (0, 0), 3.2 * SCALE)
    x, y = coordinates()
    rim = np.clip(1 - inner, 0, 1) ** 1.5 * np.clip((x - 300) / 45, 0, 1)
    rim *= np.clip((y - 150) / 40, 0, 1) * np.clip((322 - y) / 30, 0, 1)
    color += (rim[..., None] * shape.rim) * np.array([0.95, 0.98, 1.0], np.float32)
    skin = with_alpha(color, edge)
    return texture(lambda canvas: _paint_face(canvas, skin, look))


def _tint(color: NDArray[np.float32], blush: float) -> NDArray[np.float32]:
    """Blood under the skin: cheeks, nose, chin, ears; cooler about the eyes and the jaw."""
    hill = relief.hill
    red = hill(206, 233, 21, 15, 0.62, 0.35) + hill(307, 233, 21, 15, 0.56, -0.35)
    red = red + hill(256, 236, 11, 8, 0.40) + hill(256, 313, 15, 9, 0.22)
    red = red + hill(256, 110, 60, 20, 0.12)
    cool = hill(214, 205, 17, 6, 0.35) + hill(299, 205, 17, 6, 0.35)
    cool = cool + hill(200, 292, 22, 14, 0.25, 0.7) + hill(313, 292, 22, 14, 0.3, -0.7)
    color = color * (1 - blush * red[..., None] * np.array([0.015, 0.17, 0.165], np.float32))
    return np.asarray(
        color * (1 - cool[..., None] * np.array([0.12, 0.085, 0.045], np.float32)), np.float32
    )


def _paint_face(canvas: skia.Canvas, skin: Rgba, look: Look) -> None:
    tone, shape = look.skin, look.face
    put(canvas, skin)
    clip(canvas, contour(shape))
    if look.hair.cut == "long":
        _draw_shadow_of_hair(canvas, tone)
    _draw_nose(canvas, tone, shape)
    _draw_folds(canvas, tone)
    if shape.has_mole:  # faces are not symmetrical
        canvas.drawCircle(301.5, 256.5, 0.95, paint(tone("6E3B2C"), 0.75, blur=0.3))
    # the chin's underside turns away from the light
    under = spline(
        ((196, 296), (222, 316), (256, 325), (292, 315), (322, 288), (322, 340), (196, 340)),
        closed=True,
    )
    canvas.drawPath(under, paint(tone("8E4A3A"), 0.35, blur=4.5))
    if shape.beard:
        beard.draw(canvas, shape.beard, look.mouth)


def _draw_shadow_of_hair(canvas: skia.Canvas, tone: Tones) -> None:
    """On the forehead and the temples."""
    shadow = spline(
        ((150, 60), (150, 230), (176, 214), (182, 160), (206, 122), (262, 101), (300, 108),
         (326, 138), (334, 196), (338, 262), (356, 262), (356, 60)), closed=True,
    )  # fmt: skip
    canvas.drawPath(shadow, paint(tone("7A3E2C"), 0.42, blur=7))


def _draw_nose(canvas: skia.Canvas, tone: Tones, shape: FaceShape) -> None:
    """Draw the nostrils, the wings' creases, and the light on tip and bridge."""
    for side in (-1, 1):
        x = 256.3 + side * 7.4 * shape.nose
        nostril = spline(
            ((x - side * 4.6, 244.6), (x - side * 1.2, 242.2), (x + side * 3.6, 243.2),
             (x + side * 4.4, 245.4), (x, 246.6)), closed=True,
        )  # fmt: skip
        canvas.drawPath(nostril, paint(tone("5A261D"), 0.72, blur=0.9))
        wing = spline(
            ((x + side * 8.2, 233.5), (x + side * 12.0, 238.5), (x + side * 11.0, 244.5),
             (x + side * 6.0, 246.4))
        )  # fmt: skip
        canvas.drawPath(wing, paint(tone("9C5440"), 0.46, blur=1.0, stroke=1.5))
    canvas.drawOval(oval(256, 249.5, 13, 2.6), paint(tone("9C5440"), 0.30, blur=2.2))
    canvas.drawOval(oval(253.4, 231.0, 3.6, 3.0), paint(tone("FFFFFF"), 0.42, blur=2.0))
    bridge = spline(((253.4, 178), (253.2, 200), (253.8, 220)))
    canvas.drawPath(bridge, paint(tone("FFF6EC"), 0.28, blur=2.2, stroke=3.2))


def _draw_folds(canvas: skia.Canvas, tone: Tones) -> None:
    """Draw those from the nose to the corners of the mouth, very soft."""
    left = spline(((239, 243), (229, 253), (222.5, 265)))
    canvas.drawPath(left, paint(tone("A8614A"), 0.20, blur=1.8, stroke=2.2))
    right = spline(((273, 243), (283, 253), (290.5, 266)))
    canvas.drawPath(right, paint(tone("A8614A"), 0.26, blur=1.8, stroke=2.2))


def ears(look: Look) -> Rgba:
    """The ear on the viewer's left, and the other one where no hair covers it."""
    tone = look.skin

    def draw_both(canvas: skia.Canvas) -> None:
        draw(canvas)
        if look.hair.cut == "cropped":
            canvas.translate(512, -0.8)
            canvas.scale(-1, 1)
            draw(canvas)

    def draw(canvas: skia.Canvas) -> None:
        ear = spline(
            ((176, 190), (168.5, 184), (162.5, 189), (161.5, 203), (164.5, 219), (169.5, 229),
             (174.5, 229), (178, 214)), closed=True,
        )  # fmt: skip
        tones = tone.each(("EDB596", "D9957A", "BE7560"))
        canvas.drawPath(ear, paint(shader=linear((160, 184), (178, 230), tones)))
        canvas.save()
        clip(canvas, ear)
        fold = spline(((175, 193), (168.5, 189), (165.5, 195), (165.5, 206), (168.5, 217)))
        canvas.drawPath(fold, paint(tone("94493A"), 0.60, blur=1.0, stroke=1.8))
        shell = spline(((173.5, 199), (169.5, 203), (171, 211), (173.5, 217)))
        canvas.drawPath(shell, paint(tone("7C382C"), 0.60, blur=1.4, stroke=3.2))
        rim = spline(((164, 191), (163.2, 203), (166.5, 217)))
        canvas.drawPath(rim, paint(tone("FFDCC8"), 0.60, blur=0.9, stroke=1.3))
        # the hair above and the cheek before it shade the ear
        canvas.drawOval(oval(169, 185, 12, 7), paint(tone("5A2A1E"), 0.62, blur=3))
        canvas.drawOval(oval(178, 210, 4, 24), paint(tone("8A4636"), 0.45, blur=2.5))
        canvas.restore()
        if look.face.has_earring:
            # a small golden drop
            gold = linear((167.5, 229.5), (173.5, 236.5), ("FFF3C4", "D9A441", "8A5A1C"))
            canvas.drawCircle(170.6, 233.0, 2.9, paint(shader=gold))
            canvas.drawCircle(169.7, 231.9, 0.9, paint("FFFFFF", 0.9))

    return texture(draw_both)


NECK = (
    (205, 262), (208, 308), (209.5, 338), (206, 356), (197, 370), (193, 392), (212, 470),
    (256, 500), (300, 470), (320, 392), (316, 370), (307, 356), (303.5, 338), (304, 308),
    (307, 262),
)  # fmt: skip


def neck(look: Look) -> Rgba:
    """Neck, throat and the skin down to the collar, in the chin's shadow."""
    tone, width = look.skin, look.face.neck
    path = spline([(256 + (px - 256) * width, py) for px, py in NECK], closed=True)
    x, y = coordinates()
    across = np.clip(1 - ((x - 256) / (66 * width)) ** 2, 0, None)
    height = 54 * np.sqrt(across) * np.clip((400 - y) / 60, 0.12, 1)
    height = height + relief.hill(256, 396, 80, 26, 12)
    for side in (-1, 1):
        height = height + relief.hill(
            256 + side * 24, 352, 5, 34, 4.5, side * 0.42
        )  # sternomastoid
        height = height + relief.hill(256 + side * 34, 395, 22, 4.2, 4.2, side * 0.22)  # collarbone
    height = height + relief.hill(256, 386, 8, 7, -6)  # pit of the throat
    if look.face.throat:
        height = height + relief.hill(256, 356, 5.5, 8, look.face.throat)
    height = relief.soften(np.asarray(height, np.float32), 2)
    skin = with_alpha(shade(height, tone.own) * 0.97, coverage(path))

    def draw(canvas: skia.Canvas) -> None:
        put(canvas, skin)
        clip(canvas, path)
        cast = spline(
            ((190, 250), (200, 318), (226, 343), (262, 352), (296, 343), (318, 318), (326, 250)),
            closed=True,
        )
        canvas.drawPath(cast, paint(tone("6E3326"), 0.62, blur=7))
        canvas.drawPath(
            spline(((300, 300), (318, 360), (340, 400), (380, 300)), closed=True),
            paint(tone("6E3326"), 0.45, blur=9),
        )
        for y0, bend in ((349, 4), (363, 5)):
            canvas.drawPath(
                spline(((222, y0), (256, y0 + bend), (290, y0 - 1))),
                paint(tone("A0604A"), 0.20, blur=1.2, stroke=1.4),
            )

    return texture(draw)
