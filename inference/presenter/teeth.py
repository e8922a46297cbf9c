"""Behind the lips: teeth and tongue, three pieces that the drawn mouth moves by themselves."""

import skia

from inference.presenter.paint import clip, linear, oval, paint, spline
from inference.presenter.places import MOUTH

TEETH_TOP = MOUTH[1] - 9.0
TEETH_HEIGHT = 12.5


def draw_upper_teeth(canvas: skia.Canvas) -> None:
    """Draw the upper row, fixed to the skull; its gum is behind the upper lip."""
    x0 = MOUTH[0] + 0.3
    widths = (8.4, 6.6, 7.0, 5.6, 4.6)
    lengths = (12.6, 11.8, 11.9, 10.6, 9.4)
    canvas.drawPath(
        spline(
            (
                (x0 - 34, TEETH_TOP - 6),
                (x0 + 34, TEETH_TOP - 6),
                (x0 + 33, TEETH_TOP + 3.6),
                (x0, TEETH_TOP + 4.6),
                (x0 - 33, TEETH_TOP + 3.6),
            ),
            closed=True,
            tension=0.6,
        ),
        paint("B9655F"),
    )
    # one even band first: between teeth there is more teeth, not the dark
    edges = [(0.0, 12.3), (8.0, 12.0), (15.0, 11.3), (21.0, 10.9), (27.0, 9.9), (31.0, 8.4)]
    right = [(x0 + dx, TEETH_TOP + dy) for dx, dy in edges]
    left = [(x0 - dx, TEETH_TOP + dy) for dx, dy in edges[:0:-1]]
    band = spline(
        [*left, *right, (x0 + 31, TEETH_TOP + 1), (x0 - 31, TEETH_TOP + 1)],
        closed=True,
        tension=0.3,
    )
    canvas.drawPath(band, paint("DCCFC3", blur=0.3))
    for side in (-1, 1):
        at = 0.1
        for i, (w, h) in enumerate(zip(widths, lengths, strict=True)):
            near, far = x0 + side * at, x0 + side * (at + w)
            at += w * (1 - 0.05 * i)
            _draw_upper_tooth(canvas, near, far, TEETH_TOP + 0.3 * i, h, 0.11 * i, side)


def _draw_upper_tooth(
    canvas: skia.Canvas, near: float, far: float, y: float, h: float, dim: float, side: int
) -> None:
    """One tooth from ``near`` the middle to ``far``; ``dim`` is how far back it stands."""
    middle = (near + far) / 2
    tooth = spline(
        (
            (near, y + 1.2), (middle, y), (far, y + 1.2), (far, y + h * 0.75),
            (far - side * 0.5, y + h - 0.5), (middle, y + h), (near + side * 0.3, y + h - 0.2),
            (near, y + h * 0.75),
        ),
        closed=True,
        tension=0.35,
    )  # fmt: skip
    enamel = linear((near, y), (near, y + h), ("E6D8CA", "FCF8F1", "F6F1EC"), (0, 0.5, 1))
    canvas.drawPath(tooth, paint(shader=enamel, blur=0.2))
    canvas.drawPath(tooth, paint("4A211C", dim + (0.03 if side > 0 else 0.0)))
    canvas.drawLine(far, y + 2, far, y + h - 1.2, paint("8C6A5C", 0.32, stroke=0.5, blur=0.35))
    shine = oval(middle - 0.8, y + h * 0.55, abs(far - near) * 0.2, h * 0.22)
    canvas.drawOval(shine, paint("FFFFFF", max(0.42 - dim, 0.0), blur=1.1))


def draw_lower_teeth(canvas: skia.Canvas) -> None:
    """Draw the lower row as it is at rest; it sinks with the jaw."""
    x0, y = MOUTH[0] + 0.6, MOUTH[1] + 3.0
    canvas.drawPath(
        spline(
            ((x0 - 30, y + 8), (x0, y + 7), (x0 + 30, y + 8), (x0 + 30, y + 20), (x0 - 30, y + 20)),
            closed=True,
            tension=0.5,
        ),
        paint("A85650"),
    )
    for side in (-1, 1):
        at = 0.1
        for i, w in enumerate((5.0, 5.3, 5.6, 5.2, 4.4)):
            left, right = x0 + side * at, x0 + side * (at + w - 0.15)
            at += w * (1 - 0.05 * i)
            up = y + 0.3 * i + (0.4 if i == 1 else 0.0)
            tooth = spline(
                (
                    (left, up + 0.6),
                    ((left + right) / 2, up),
                    (right, up + 0.6),
                    (right - side * 0.4, up + 9),
                    (left + side * 0.4, up + 9),
                ),
                closed=True,
                tension=0.5,
            )
            canvas.drawPath(tooth, paint("7E5A50", 0.8, stroke=0.5, blur=0.3))
            canvas.drawPath(
                tooth,
                paint(shader=linear((left, up), (left, up + 9), ("EFE7DC", "E6DACC", "C9B2A4"))),
            )
            canvas.drawPath(tooth, paint("3A1815", 0.10 + 0.10 * i))


def draw_tongue(canvas: skia.Canvas) -> None:
    """Draw the tongue lying on the floor of the mouth, tip towards the viewer."""
    x, y = MOUTH[0], MOUTH[1] + 6.0
    body = spline(
        (
            (x - 21, y + 14),
            (x - 18, y + 4),
            (x - 9, y - 0.6),
            (x, y - 1.4),
            (x + 9, y - 0.4),
            (x + 18, y + 4.4),
            (x + 21, y + 14),
            (x, y + 26),
        ),
        closed=True,
    )
    canvas.drawPath(body, paint("5A1F20", 0.8, blur=1.8))
    canvas.drawPath(
        body,
        paint(
            shader=linear((x - 4, y - 2), (x + 3, y + 18), ("D98480", "C9696A", "A34A4E")), blur=0.5
        ),
    )
    canvas.save()
    clip(canvas, body)
    canvas.drawPath(
        spline(((x + 0.6, y + 0.5), (x + 0.2, y + 8), (x + 0.8, y + 20))),
        paint("8E3B3F", 0.5, stroke=1.6, blur=1.2),
    )
    canvas.drawOval(oval(x - 7, y + 3.6, 6, 2.4), paint("FFD9D2", 0.45, blur=1.5))
    canvas.drawOval(oval(x + 8, y + 4.0, 4, 1.8), paint("FFD9D2", 0.25, blur=1.4))
    canvas.restore()
