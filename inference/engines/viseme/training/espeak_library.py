"""libespeak-ng through ctypes, as far as speech with phoneme times needs it."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Names and values of speak_lib.h.
_RETRIEVAL = 1
_PHONEME_EVENTS_IN_IPA = 1 | 2
_TERMINATED, _PHONEME = 0, 7
_UTF8 = 1
_IPA = 2
_RATE, _PITCH, _RANGE = 1, 3, 4
_BUFFER_MS = 500


class SynthesisError(Exception):
    """A synthesizer is missing, or refused the voice or the text."""


class _EventId(ctypes.Union):
    _fields_ = [
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    ]


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


class Espeak:
    """libespeak-ng, which keeps its state in globals: one per process."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libespeak-ng.so.1")
        except OSError as error:
            raise SynthesisError("libespeak-ng.so.1 not found: install espeak-ng") from error
        self.rate_hz = self._library.espeak_Initialize(
            _RETRIEVAL, _BUFFER_MS, None, _PHONEME_EVENTS_IN_IPA
        )
        if self.rate_hz <= 0:
            raise SynthesisError("espeak-ng found no voice files")
        self._pieces: list[NDArray[np.int16]] = []
        self._events: list[tuple[int, str]] = []
        prototype = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
        )
        self._callback = prototype(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        place = 0
        while events[place].type != _TERMINATED:
            event = events[place]
            if event.type == _PHONEME:
                name = ctypes.string_at(ctypes.addressof(event.id), 8).split(b"\0")[0]
                self._events.append((event.sample, name.decode("utf-8", "ignore")))
            place += 1
        return 0

    def ipa(self, text: str, voice: str) -> str:
        """How ``voice`` would say a clause, in IPA with stress marks.

        Raises:
            SynthesisError: There is no such voice.
        """
        self._choose(voice)
        translate = self._library.espeak_TextToPhonemes
        translate.restype = ctypes.c_char_p
        place = ctypes.c_char_p(text.encode())
        found = []
        while place.value:
            said = translate(ctypes.byref(place), _UTF8, _IPA)
            found.append((said or b"").decode("utf-8", "ignore"))
        return " ".join(found)

    def _choose(self, voice: str) -> None:
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SynthesisError(f"espeak-ng has no voice {voice!r}")

    def speak(
        self, text: str, voice: str, rate: int, pitch: int, pitch_range: int
    ) -> tuple[NDArray[np.int16], list[tuple[int, str]]]:
        """Return samples at ``rate_hz``, and each phoneme's first sample and IPA name."""
        self._pieces.clear()
        self._events.clear()
        self._choose(voice)
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        encoded = text.encode()
        self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        if not self._pieces:
            raise SynthesisError(f"espeak-ng said nothing for {text!r}")
        return np.concatenate(self._pieces), list(self._events)
