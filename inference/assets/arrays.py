"""Arrays of a prepared avatar, one a file."""

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import AvatarInvalid

_NOT_AN_ARRAY = (ValueError, TypeError, EOFError, OSError, OverflowError, SyntaxError, TokenError)
"""What NumPy raises for a file that is damaged or something else: a header is read as Python."""


def read_array(path: Path) -> NDArray[Any]:
    """Map an array of numbers in the ``.npy`` format; it cannot be written to.

    Raises:
        FileNotFoundError: there is no such file.
        AvatarInvalid: it cannot be read, or is something else.
    """
    try:
        found = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise
    except _NOT_AN_ARRAY as error:
        raise AvatarInvalid(f"{path}: {error}") from None
    if found.dtype.kind not in "biuf":
        raise AvatarInvalid(f"{path} holds {found.dtype}, no numbers")
    return found
