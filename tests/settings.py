"""The project's settings with every default, whatever is set on the machine that runs the tests."""

import os
import tempfile
from pathlib import Path

from musetalk_site.configuration.environment import VARIABLES

os.environ.update({name: variable.default for name, variable in VARIABLES.items()})
os.environ["SECRET_KEY"] = "only for tests"
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", "sqlite://:memory:")
# A test that needs prepared avatars names a folder of its own.
os.environ["AVATARS_DIR"] = str(Path(tempfile.gettempdir()) / "there-are-no-avatars-here")

from musetalk_site.settings import *  # noqa: F403

AXES_ENABLED = False  # tests log in without a request; its own test turns it on
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # half a second sooner each
