"""``python -m benchmarks.observing [--idle 100] [--speaking 4] [--pairs 4] [--seconds 12]``

What it costs a server to be observed. Two servers run: one with METRICS, scraped every five
seconds, which is far more often than Prometheus does by default, and with its log in JSON; one
without either. They carry the same sessions in turns, so that what else the machine does counts for
both, and what is compared is the processor time of a frame, pair by pair.

Both count what they do, since the admin and /sessions want that too: what a frame's counting costs
is measured apart, and so is what one scrape and one line of the log cost.
"""

import argparse
import logging
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.held_sessions import HeldSessions, SessionsRefused
from benchmarks.load import CLIENT_LIMIT
from benchmarks.processor_time import best_s
from benchmarks.server import ServerProcess, add_json_argument
from benchmarks.speech import speech
from benchmarks.verdict import Verdict
from inference.metrics import FrameMetrics
from inference.timing import FRAME_S
from musetalk_site.logs import logging_settings
from streaming.session.metrics import SessionMetrics

WANTED_PERCENT = 2.0
SCRAPE_EVERY_S = 5.0
SCRAPES = 50
SETTLE_S = 2.0
ON = {"METRICS": "true", "LOG_FORMAT": "json", "LOG_LEVEL": "INFO"}
OFF = {"METRICS": "false", "LOG_FORMAT": "text", "LOG_LEVEL": "CRITICAL"}
_TRIES = 20_000


@dataclass(frozen=True, slots=True)
class Run:
    """What carrying the sessions for a while was like."""

    cores: float
    """That the server took."""
    cpu_ms: float
    """Of the server, a frame."""
    share_of_frames: float
    """That came, of those due: a machine that is too slow compares nothing."""
    share_of_speech: float
    """The same of frames that show speech."""
    client_cores: float
    """Of the busiest client process."""


class Scraper:
    """Reads a server's /metrics every `SCRAPE_EVERY_S`, in a thread of its own."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure: Exception | None = None

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        if self._failure is not None:  # what was measured since was not observed
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._is_over.wait(SCRAPE_EVERY_S):
                scrape(self._server)
        except OSError as failure:
            self._failure = failure


def scrape(server: ServerProcess) -> int:
    """Read /metrics; how many bytes it has."""
    address = f"http://127.0.0.1:{server.port}/metrics"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return len(answer.read())


def run_once(server: ServerProcess, options: argparse.Namespace) -> Run:
    """Carry the sessions for a while."""
    with ExitStack() as stack:
        held = [
            stack.enter_context(
                HeldSessions(server.address, "benchmark", count, are_speaking=are_speaking)
            )
            for count, are_speaking in ((options.idle, False), (options.speaking, True))
            if count
        ]
        pause = threading.Event()
        pause.wait(SETTLE_S)
        for sessions in held:
            sessions.begin()
        began_s, cpu_s = time.monotonic(), server.tree.cpu_s()
        pause.wait(options.seconds)
        cores = (server.tree.cpu_s() - cpu_s) / (time.monotonic() - began_s)
        reports = [sessions.end() for sessions in held]
    frames = sum(report.frames for report in reports)
    due_of_one = options.seconds / FRAME_S
    speaking_due = max(1, options.speaking) * due_of_one
    return Run(
        cores,
        cpu_ms=cores * options.seconds * 1_000 / max(1, frames),
        share_of_frames=frames / ((options.idle + options.speaking) * due_of_one),
        share_of_speech=sum(report.speech_frames for report in reports) / speaking_due,
        client_cores=max(report.cores for report in reports),
    )


def call_us(work: Callable[[], object], rounds: int = 7) -> float:
    """Processor time of one call, of the best round."""
    return best_s(lambda: [work() for _ in range(_TRIES)], rounds) / _TRIES * 1e6


def counting_us() -> float:
    """What is counted of one frame that is made, sent, and shows speech."""
    made, sent = FrameMetrics(), SessionMetrics()

    def count() -> None:
        made.spoken += 1
        made.sent += 1
        made.lateness.count(0.003)
        sent.frames_sent += 1
        sent.video_bytes += 5_000
        sent.lateness.count(0.003)

    return call_us(count)


def line_us(form: str) -> float:
    """One line of the log, but for its writing."""
    settings = logging_settings("INFO", "json" if form == "json" else "text")
    line = settings["formatters"]["line"]
    formatter = line["()"](
        foreign_pre_chain=line["foreign_pre_chain"], processors=line["processors"]
    )
    record = logging.LogRecord(
        "streaming.gateway",
        logging.INFO,
        __file__,
        1,
        "session %s: connection opened",
        ("x",),
        None,
    )
    return call_us(lambda: formatter.format(record), rounds=3)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs in turns, observed and not, and what was read of the server that is observed."""

    on: list[Run]
    off: list[Run]
    scrape_ms: float
    """Processor time of one."""
    scrape_bytes: int
    log_lines: int


def compare(options: argparse.Namespace) -> Comparison:
    """Run both servers, in turns."""
    places = {"SPEAKING_PLACES": "10000"}
    runs_on, runs_off = list[Run](), list[Run]()
    with ExitStack() as stack:
        on = stack.enter_context(ServerProcess(**ON, **places))
        off = stack.enter_context(ServerProcess(**OFF, **places))
        for pair in range(options.pairs):
            for is_on in (True, False) if pair % 2 == 0 else (False, True):
                if is_on:
                    with Scraper(on):
                        runs_on.append(run_once(on, options))
                else:
                    runs_off.append(run_once(off, options))
            print(
                f"pair {pair + 1}: {runs_on[-1].cores:.4f} and {runs_off[-1].cores:.4f} cores",
                flush=True,
            )
        before_s = on.tree.cpu_s()
        scrape_bytes = [scrape(on) for _ in range(SCRAPES)][-1]
        scrape_ms = (on.tree.cpu_s() - before_s) / SCRAPES * 1_000
        log_lines = len(on.log().splitlines())
    return Comparison(runs_on, runs_off, scrape_ms, scrape_bytes, log_lines)


def judge(found: Comparison, options: argparse.Namespace) -> Verdict:
    verdict = Verdict("observing")
    verdict.notes.append(
        f"{options.idle} idle and {options.speaking} speaking sessions, {options.pairs} pairs of "
        f"runs of {options.seconds:g} s, a scrape every {SCRAPE_EVERY_S:g} s, {speech().source}"
    )
    more = [100 * (a.cpu_ms / b.cpu_ms - 1) for a, b in zip(found.on, found.off, strict=True)]
    verdict.at_most(
        "more with metrics and JSON, median", WANTED_PERCENT, statistics.median(more), "%"
    )
    spread = statistics.stdev(more) / len(more) ** 0.5 if len(more) > 1 else None
    verdict.told("its standard error", spread, "%")
    verdict.told("cores, with", statistics.median(run.cores for run in found.on))
    cores_off = statistics.median(run.cores for run in found.off)
    verdict.told("cores, without", cores_off)
    both = [*found.on, *found.off]
    verdict.at_least("frames received, of those due", 0.95, min(r.share_of_frames for r in both))
    if options.speaking:
        speech_share = min(run.share_of_speech for run in both)
        verdict.at_least("frames with speech, of those due", 0.9, speech_share)
    verdict.below("client cores", CLIENT_LIMIT, max(run.client_cores for run in both), unit="")
    verdict.told("one scrape", found.scrape_ms, "ms")
    share = found.scrape_ms / 1_000 / SCRAPE_EVERY_S / cores_off * 100
    verdict.at_most("scrapes alone, of what the server takes", WANTED_PERCENT, share, "%")
    verdict.told("bytes of one", found.scrape_bytes)
    verdict.told("lines of the log in all runs", found.log_lines)
    verdict.told("one line in JSON", line_us("json"), "µs")
    verdict.told("one line for people", line_us("text"), "µs")
    verdict.told("counting a frame", counting_us(), "µs")
    return verdict


def main() -> int:
    """Measure, and print a table; the exit status."""
    parser = argparse.ArgumentParser(description="What does it cost to be observed?")
    parser.add_argument("--idle", type=int, default=100)
    parser.add_argument("--speaking", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=4, help="of runs, with and without")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each run")
    add_json_argument(parser)
    options = parser.parse_args()
    try:
        return judge(compare(options), options).conclude(options.json)
    except SessionsRefused as refusal:
        sys.exit(f"this machine does not carry so many sessions: {refusal}")


if __name__ == "__main__":
    sys.exit(main())
