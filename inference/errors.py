"""The exceptions of this package.

InferenceError
├── AvatarError             an asset folder cannot be used
│   ├── AvatarNotFound
│   └── AvatarInvalid       damaged, of another format, or encoded with another profile
├── EngineError             the lip-sync engine failed
│   ├── EngineUnavailable   it cannot run here: weights or device missing
│   ├── EngineOutOfMemory   the batch was too large; a smaller one may pass
│   ├── EngineLost          its device failed and does not come back in this process
│   └── EngineStopped       it was closed while it worked
├── MessageInvalid          a message on the layer is not what it should be
└── PreparationError        a video cannot become an avatar; says why and what to do
"""


class InferenceError(Exception):
    """Parent of all; never raised itself."""


class AvatarError(InferenceError):
    """An asset folder cannot be used."""


class AvatarNotFound(AvatarError):
    pass


class AvatarInvalid(AvatarError):
    pass


class EngineError(InferenceError):
    """The lip-sync engine failed."""


class EngineUnavailable(EngineError):
    pass


class EngineOutOfMemory(EngineError):
    pass


class EngineLost(EngineError):
    pass


class EngineStopped(EngineError):
    """The engine was closed while it worked: the process is ending."""


class MessageInvalid(InferenceError):
    pass


class PreparationError(InferenceError):
    """A video cannot become an avatar.

    ``reason`` is a stable word for programs, the message a sentence for people that ends with
    the remedy.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
