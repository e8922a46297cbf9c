"""The config of a published net: what it must say."""

from collections.abc import Mapping
from typing import Any


def check_config(net: str, config: Mapping[str, Any], published: Mapping[str, Any]) -> None:
    """Compare a config with what the published net has.

    Args:
        net: The net's name, for the message.
        config: As it is in the file.
        published: The entries that must be there, and their values.

    Raises:
        ValueError: An entry is missing or differs; the message names it.
    """
    for key, wanted in published.items():
        found = config.get(key)
        if (list(found) if isinstance(found, tuple) else found) != wanted:
            raise ValueError(f"{net} config: {key} is {found!r}, MuseTalk 1.5 has {wanted!r}")
