"""The signals by which a person ends a server: that of Ctrl-C, and that of a closed terminal."""

import signal


def interrupts() -> tuple[signal.Signals, ...]:
    """Return them; without that of the terminal where it is ignored, as behind `nohup`."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGINT,)
    return signal.SIGINT, signal.SIGHUP
