"""How many processes suit a machine."""


def processes_for(cores: int) -> int:
    """How many app processes use ``cores`` cores best.

    One up to two cores, where a second process would only compete with the threads of the first;
    else one a core, since a process keeps about one core busy (the interpreter's lock).
    """
    return 1 if cores <= 2 else cores
