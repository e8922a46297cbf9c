"""`manage.py talk`: say a sound file to an avatar, record the answer, report on the stream."""

import argparse
import asyncio
import contextlib
import re
import shlex
import sys
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    OutputWrapper,
)

from talking_avatar import (
    ActionTriggered,
    AvatarClient,
    AvatarError,
    Event,
    Frame,
    Interrupted,
    ServerError,
    StateChanged,
    Utterance,
    as_spoken,
)
from talking_avatar.measurement import StreamReport
from talking_avatar.observation import Observation
from talking_avatar.recording import Recording
from talking_avatar.sound_files import SAMPLE_RATE_HZ, read_speech

IDLE_AFTER_S = 1.0
SHOWN_WITHIN_S = 5.0
"""How much longer than its own length speech may take to be shown."""
FRAMES_A_REDRAW = 5
FRAMES_A_LINE = 125
COMMANDS = """\
speak FILE           say a sound file
state STATE [CLIP]   idle, speaking or action, and which clip, such as idle_3
action 1|2           insert an action
interrupt            be silent at once
quit                 or the end of the input"""


class Command(BaseCommand):
    help = (
        "Talk to an avatar: sends speech to a server, writes what comes back as an MP4 with "
        "picture and sound, and reports on the stream. The exit status is 0 if all went well."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--server", default="ws://localhost:8000", help="default: %(default)s")
        parser.add_argument("--user-id", default="talk", help="whose avatar; default: %(default)s")
        parser.add_argument("--token", help="an API key or a token, where the server asks for one")
        parser.add_argument(
            "--audio-file", type=Path, help="speech: WAV of any rate and channels, or MP3, FLAC ..."
        )
        parser.add_argument("--output", type=Path, help="the MP4 to write; without it none")
        parser.add_argument(
            "--fast", action="store_true", help="send the speech at once, not as it is spoken"
        )
        parser.add_argument(
            "--video-state",
            type=_clip_name,
            metavar="CLIP",
            help="the clip to run under the speech, such as speaking_3",
        )
        parser.add_argument(
            "--interactive", action="store_true", help="take commands from the keyboard"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["audio_file"] is None and not options["interactive"]:
            raise CommandError("Say what to speak: --audio-file FILE, or --interactive.")
        try:
            problems = asyncio.run(self._talk(**options))
        except (AvatarError, ValueError) as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Broken off.", returncode=130) from None
        if problems:
            raise CommandError("\n".join(["It did not go well.", *problems]))

    async def _talk(
        self,
        *,
        audio_file: Path | None,
        output: Path | None,
        fast: bool,
        video_state: str | None,
        interactive: bool,
        **connection: Any,
    ) -> list[str]:
        """Hold the conversation and print its report; returns what went wrong."""
        speech = read_speech(audio_file, warn=self._warn) if audio_file else b""
        with ExitStack() as files:
            async with _client(has_sound=output is not None, **connection) as client:
                # Only now: a server that cannot be reached leaves no empty video behind.
                recording = files.enter_context(Recording(output)) if output else None
                self._say(f"connected to {client.address}, engine {client.info.engine}")
                progress = _Progress(speech, self.stdout)
                async with Observation(
                    client,
                    recording=recording,
                    is_paced=not fast,
                    on_event=self._announce if interactive else progress.show,
                ) as observation:
                    speaker = _Speaker(client, is_paced=not fast)
                    if speech:
                        await speaker.say(speech, clip=video_state)
                        await speaker.wait_until_shown()
                    if interactive:
                        await self._obey(client, observation, speaker)
                    await observation.wait(IDLE_AFTER_S)
                    report = observation.report()
                    problems = [*speaker.problems, *observation.problems]
                progress.end()
        self._print_report(report, observation.warnings)
        if recording:
            self._say(f"{'video':<20} {output}, {recording.pictures} pictures")
        return problems + report.problems()

    def _print_report(self, report: StreamReport, warnings: Iterable[str]) -> None:
        for line in report.lines():
            self._say(line)
        for sentence in warnings:
            self._warn(sentence)

    async def _obey(
        self, client: AvatarClient, observation: Observation, speaker: "_Speaker"
    ) -> None:
        """Take commands from the keyboard."""
        self._say(COMMANDS)
        lines = _lines_of_stdin()
        running: list[asyncio.Task[None]] = []
        while observation.is_open and (line := await lines.get()) is not None:
            try:
                words = shlex.split(line)
            except ValueError as error:
                self._say(f"? {error}")
                continue
            if words == ["quit"]:
                for task in running:
                    task.cancel()
                break
            if words:
                # Not awaited: one can interrupt, or wave, while a file is being said.
                running.append(asyncio.create_task(self._obey_one(client, speaker, words)))
        else:
            await asyncio.gather(*running)
            await speaker.wait_until_shown()
        await asyncio.gather(*running, return_exceptions=True)

    async def _obey_one(self, client: AvatarClient, speaker: "_Speaker", words: list[str]) -> None:
        try:
            match words:
                case ["speak", name]:
                    await speaker.say(
                        await asyncio.to_thread(read_speech, Path(name), warn=self._warn)
                    )
                case ["state", state, *clip] if len(clip) <= 1:
                    await client.change_state(state, *clip)
                case ["action", "1" | "2" as index]:
                    await client.start_action(int(index))
                case ["interrupt"]:
                    await client.interrupt()
                case _:
                    self._say(f"? {' '.join(words)}\n{COMMANDS}")
        except AvatarError as error:
            self._say(f"? {error}")

    def _announce(self, event: Event) -> None:
        match event:
            case StateChanged(state, clip):
                self._say(f"< state {state}, clip {clip}")
            case ActionTriggered(index):
                self._say(f"< action {index} follows")
            case Interrupted(dropped_ms):
                self._say(f"< interrupted, {dropped_ms} ms dropped")
            case ServerError():
                self._say(f"< {event}")
            case _:
                pass

    def _say(self, line: str) -> None:
        self.stdout.write(line)

    def _warn(self, sentence: str) -> None:
        self._say(f"Warning: {sentence}")


def _client(
    *, server: str, user_id: str, token: str | None, has_sound: bool, **_django: Any
) -> AvatarClient:
    """Make the client; a video that is written has the sound, too."""
    receive = ["video", "events", *(["audio"] if has_sound else [])]
    return AvatarClient(server, user_id, token=token, receive=receive, reconnects=False)


class _Speaker:
    """Says sound files, as fast as they are spoken or at once, and waits until they were shown."""

    def __init__(self, client: AvatarClient, *, is_paced: bool) -> None:
        self.problems: list[str] = []
        self._client = client
        self._is_paced = is_paced
        self._utterances: list[Utterance] = []
        self._turn = asyncio.Lock()

    async def say(self, pcm: bytes, *, clip: str | None = None) -> None:
        """Send an utterance, s16le at 16 kHz; returns when all of it was sent."""
        async with self._turn:  # a file that is said is not mixed with another one
            audio = as_spoken(pcm) if self._is_paced else pcm
            self._utterances.append(await self._client.speak(audio, clip=clip))

    async def wait_until_shown(self) -> None:
        """Wait for the frames that show what was said; a problem if they do not come."""
        allowed_s = self._client.unshown_ms / 1_000 + SHOWN_WITHIN_S
        with contextlib.suppress(TimeoutError, AvatarError):
            async with asyncio.timeout(allowed_s):
                for utterance in self._utterances:
                    await utterance
                self._utterances.clear()
                return
        missing_s = self._client.unshown_ms / 1_000
        self.problems.append(f"The last {missing_s:.1f} s of the speech were never shown.")


class _Progress:
    """Shows how far the speech is: on a terminal in one line, which is overwritten."""

    def __init__(self, speech: bytes, out: OutputWrapper) -> None:
        """``speech``: s16le at 16 kHz."""
        self._total_s = len(speech) / (2 * SAMPLE_RATE_HZ)
        self._write = out.write
        self._is_terminal = bool(out.isatty())
        self._every = FRAMES_A_REDRAW if self._is_terminal else FRAMES_A_LINE
        self._frames = 0

    def show(self, event: Event) -> None:
        if not isinstance(event, Frame):
            return
        self._frames += 1
        if self._frames % self._every == 0:
            line = f"{self._frames:6} frames  {event.clip:<12}"
            if event.audio_timestamp_ms is not None:
                line += f"{event.audio_timestamp_ms / 1_000:6.1f} of {self._total_s:.1f} s said"
            if self._is_terminal:
                self._write(f"\r{line:<52}", ending="")
            else:
                self._write(line)

    def end(self) -> None:
        if self._is_terminal and self._frames >= self._every:
            self._write("")


def _clip_name(text: str) -> str:
    if not re.fullmatch(r"(idle|speaking|action)_[0-9]{1,2}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no clip: write speaking_3 or idle_0")
    return text


def _lines_of_stdin() -> "asyncio.Queue[str | None]":
    """Return the lines typed, then None.

    A thread reads them: it may be waiting while the program ends.
    """
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    return lines
