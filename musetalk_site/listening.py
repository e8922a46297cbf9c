"""Why the server cannot listen, in a sentence that says what to do."""

import errno
import socket


def cannot_listen(host: str, port: int, error: OSError) -> str:
    """Return the sentence for the operator.

    Args:
        host: As HOST.
        port: As PORT.
        error: What the operating system said.
    """
    said = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is taken by another program ({said}): end it, or take another port, as "
            f"in `PORT={port + 1 if port < 65_535 else port - 1} make run`."
        )
    if error.errno == errno.EACCES:
        return (
            f"Port {port} is not for ordinary users ({said}): take one from 1024 on, and let a "
            "proxy listen there (docs/deploying.md)."
        )
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return (
            f"HOST is {host!r}, which is no address of this machine ({said}): 0.0.0.0 is all of "
            "them, 127.0.0.1 this machine alone."
        )
    return f"It cannot listen on {host} port {port}: {said}."
