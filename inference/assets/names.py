"""The names that users and asset folders may have: nothing that a path could be made of."""

import re

NAME_RULE = "1 to 64 letters, digits, _ or -"
NAME_PATTERN = r"[A-Za-z0-9_-]{1,64}"
NAME = re.compile(NAME_PATTERN, re.ASCII)
