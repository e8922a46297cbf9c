"""What a WebSocket's close code means, in words."""

MEANINGS = {
    1000: "the session was closed",
    1001: "the other side went away",
    1006: "the connection was lost",
    1009: "a message was too large",
    4012: "the server shut down",
    4401: "access was denied, or its time is over",
    4404: "there is no avatar to show",
    4408: "nothing was sent for too long, or the session's time is over",
    4409: "the session was opened on another connection, or ended by an operator",
    4429: "the server is full",
    4500: "the server made a mistake, or its database did: it logged which",
}


def in_words(code: int | None) -> str:
    """Return the meaning of a code.

    Args:
        code: As the WebSocket reported it; None: it reported none.

    Returns:
        The end of a sentence, with the number for those who look it up.
    """
    if code is None:
        return MEANINGS[1006]
    return f"{MEANINGS.get(code, 'the connection was closed')} (close code {code})"
