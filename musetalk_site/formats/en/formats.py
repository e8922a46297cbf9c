"""How the admin writes dates and times: comparable with the log, so with seconds and the zone."""

DATE_FORMAT = "j M Y"
DATETIME_FORMAT = "j M Y, H:i:s e"
