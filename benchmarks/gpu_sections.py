"""``python -m benchmarks.gpu_sections NAME --models DIR --device auto``: one part of `gpu_report`.

Prints Markdown as it is measured, most important lines first, so that what was printed before a
section is cut off is worth having. Packages are imported by the section that needs them.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.folders import PRESENTER, ROOT

if TYPE_CHECKING:
    from benchmarks.server import ServerProcess

PREPARED_CLIPS = ("idle_0", "speaking_0")
"""What is prepared before the ladder: enough to speak, an eighth of the whole presenter."""

RUNG_S = 5.0
START_WITHIN_S = 115.0
SPEAKING_LADDER = (1, 8, 16, 20, 24, 32)
BESIDE_LADDER = (1, 4, 8, 12)


def say(text: str) -> None:
    """Print a line that is there even if the process is killed next."""
    print(text, flush=True)


@dataclass(frozen=True, slots=True)
class Context:
    """What all sections share."""

    models: Path
    device: str

    @property
    def is_cuda(self) -> bool:
        """Whether the section measures a GPU."""
        import torch

        return self.device != "cpu" and bool(torch.cuda.is_available())

    def make_models(self) -> None:
        """Make the model tree unless it is there: of the published size on a GPU, else small."""
        if self.models.exists():
            return
        began_s = time.monotonic()
        size = [] if self.is_cuda else ["--small"]
        draft = self.models.with_name("models.draft")
        shutil.rmtree(draft, ignore_errors=True)
        command = [sys.executable, "-m", "benchmarks.rule_tree", str(draft), *size]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        draft.rename(self.models)
        say(f"Model tree made by rule in {time.monotonic() - began_s:.0f} s.\n")

    @property
    def environment(self) -> dict[str, str]:
        """Settings of a server with this engine."""
        device = "cpu" if not self.is_cuda else "cuda"
        return {"ENGINE": "musetalk", "MODEL_PATH": str(self.models), "DEVICE": device}


def copy_some_clips(to: Path, clips: Sequence[str]) -> None:
    """Copy the shipped presenter with only these clips, as an asset folder ``to``."""
    manifest = json.loads((PRESENTER / "manifest.json").read_bytes())
    manifest["clips"] = [clip for clip in manifest["clips"] if clip["name"] in clips]
    manifest["name"] = to.name
    (to / "clips").mkdir(parents=True)
    for clip in clips:
        for path in (PRESENTER / "clips").glob(f"{clip}.*"):
            shutil.copy(path, to / "clips")
    (to / "manifest.json").write_text(json.dumps(manifest))


def table(*columns: str) -> None:
    """Print the head of a table."""
    say(f"| {' | '.join(columns)} |")
    say(f"|{'---|' * len(columns)}")


def row(*cells: object) -> None:
    """One line of a table."""
    say(f"| {' | '.join('-' if cell is None else str(cell) for cell in cells)} |")


def climb(environment: dict[str, str], counts: Sequence[int], *, prepares: bool) -> None:
    """Start a server and let more and more sessions speak, until two numbers are not held."""
    from benchmarks.server import ServerFailed, ServerProcess

    began_s = time.monotonic()
    server = ServerProcess(**environment)
    server.start_timeout_s = START_WITHIN_S
    if prepares:
        server.before_start = prepare_benchmark_avatar
    try:
        with server:
            say(f"Ready after {time.monotonic() - began_s:.0f} s.\n")
            say("\n".join(f"    {line}" for line in engine_lines(server.log())) + "\n")
            table(
                "sessions", "slowest/s", "late p50 ms", "p99 ms", "sound p95 ms", "missing",
                "errors", "cores", "held",
            )  # fmt: skip
            misses = 0
            for count in counts:
                misses = 0 if is_held(server, count) else misses + 1
                if misses == 2:
                    break
            say("\n".join(f"    {line}" for line in engine_lines(server.log())[-4:]))
            say(f"\nAt the end /health said: {server.get('/health').get('message', '')!r}\n")
            say("\n".join(f"    {line}" for line in trouble_lines(server.log())))
    except ServerFailed as failure:
        say(f"The server failed: {failure}")
        raise SystemExit(1) from None


def is_held(server: "ServerProcess", count: int) -> bool:
    """Let so many sessions speak, and print the row."""
    from benchmarks.load import climb as climb_to
    from talking_avatar import AvatarError

    try:
        rung = climb_to(
            server,
            "benchmark",
            count,
            share=1.0,
            seconds=RUNG_S,
            clients=client_processes(count),
        )
    except AvatarError as error:
        row(count, f"refused: {error}", *[None] * 7)
        return False
    latency = rung.latency_p95_ms
    row(
        count,
        f"{rung.slowest_per_s:.2f}",
        f"{rung.lateness.p50_ms:.1f}",
        f"{rung.lateness.p99_ms:.1f}",
        None if latency is None else f"{latency:.0f}",
        rung.missing,
        rung.errors,
        None if rung.server_cores is None else f"{rung.server_cores:.2f}",
        "yes" if rung.is_held else "no",
    )
    return rung.is_held


def client_processes(sessions: int) -> int:
    """Return a client process for every eight sessions, as far as half of the cores go."""
    return max(1, min(-(-sessions // 8), (os.cpu_count() or 1) // 2))


def engine_lines(log: str) -> list[str]:
    """Return what the engine told of itself when it was loaded."""
    wanted = ("musetalk on", "batches of", "kernel", "too slow", "fused", "earlier than")
    return [line.strip()[12:260] for line in log.splitlines() if any(w in line for w in wanted)]


def trouble_lines(log: str, most: int = 12) -> list[str]:
    """Return the first warnings and errors, and what workers with late mouths said last."""
    lines = [line.strip()[12:220] for line in log.splitlines()]
    troubles = [line for line in lines if "[warning]" in line or "[error]" in line]
    late = [line for line in lines if "skipped" in line and " held 0, skipped 0, " not in line]
    return troubles[:most] + late[-most:]


def prepare_benchmark_avatar(environment: dict[str, str]) -> None:
    """Prepare the avatar of the user "benchmark" before its server starts."""
    copy_some_clips(Path(environment["AVATARS_DIR"]) / "benchmark", PREPARED_CLIPS)
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "manage.py", "prepare_musetalk", "benchmark"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"prepare_musetalk failed:\n{done.stdout[-500:]}{done.stderr[-1_500:]}")
    say(f"{len(PREPARED_CLIPS)} clips prepared in {time.monotonic() - began_s:.0f} s.")


def models(context: Context) -> None:
    """Make the model tree, so that the sections of servers have their time for themselves."""
    context.make_models()
    say(f"{sum(path.stat().st_size for path in context.models.rglob('*')) / 1e9:.2f} GB.")


def ladder(context: Context) -> None:
    """Sessions of an avatar whose clips are prepared; also more than the server would admit."""
    context.make_models()
    environment = context.environment | {"SPEAKING_PLACES": "1000"}
    climb(environment, SPEAKING_LADDER, prepares=True)


def beside(context: Context) -> None:
    """Sessions of the shipped presenter, whose 17 clips are prepared beside the stream."""
    context.make_models()
    climb(context.environment, BESIDE_LADDER, prepares=False)


def throughput(context: Context) -> None:
    """`benchmarks.musetalk`, with little time for each row."""
    device = "cuda" if context.is_cuda else "cpu"
    size = "--full" if context.is_cuda else "--no-full"
    seconds = "0.5" if context.is_cuda else "0.1"
    say("```")
    run_module("benchmarks.musetalk", "--device", device, size, "--seconds", seconds)
    say("```")


def preparing(context: Context) -> None:
    """`benchmarks.preparing`: every step alone, and all together, as nothing else is done."""
    size = ("--full",) if context.is_cuda else ("--pictures", "8")
    run_module("benchmarks.preparing", "--device", "cuda" if context.is_cuda else "cpu", *size)


def decoders(context: Context) -> None:
    """`benchmarks.musetalk` with the decoders that are no parity; weights are made by rule."""
    device, size = ("cuda", "--full") if context.is_cuda else ("cpu", "--no-full")
    batches = ("1", "8", "16", "24", "32") if context.is_cuda else ("1", "2")
    seconds = "0.3" if context.is_cuda else "0.1"
    for decoder in ("taesd", "narrow"):
        say(f"\n{decoder}:\n\n```")
        run_module(
            "benchmarks.musetalk", "--device", device, size, "--decoder", decoder,
            "--seconds", seconds, "--batches", *batches,
        )  # fmt: skip
        say("```")


def accuracy(context: Context) -> None:
    """`benchmarks.accuracy`; on a CPU without the kernels, which Triton would interpret."""
    size = ("--full", "--kernels") if context.is_cuda else ("--no-full", "--pictures", "1")
    say("```")
    run_module("benchmarks.accuracy", "--device", "cuda" if context.is_cuda else "cpu", *size)
    say("```")


def gpu_tests(context: Context) -> None:
    """Run what only a GPU can show; on a CPU all of it is skipped."""
    say("```")
    run_module("pytest", "-q", "-rs", "--durations", "8", "-m", "gpu", "tests/gpu")
    say("```")


def viseme(context: Context) -> None:
    """Measure the engine that needs no GPU, on this machine's cores."""
    counts = [] if (os.cpu_count() or 1) > 4 else ["--counts", "1", "2"]
    say("```")
    environment = os.environ | {"ENGINE": "viseme"}
    arguments = ("--kind", "speaking", "--seconds", "4", *counts)
    run_module("benchmarks.load", *arguments, environment=environment)
    say("```")


def sigterm(context: Context) -> None:
    """How long a stop takes; with the small networks, whose load is all the rest of a load."""
    trials = "2" if context.is_cuda else "1"
    say("```")
    run_module(
        "benchmarks.termination", "--trials", trials, "--phases", "serve loads", "serve prepares"
    )
    say("```")


def run_module(name: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
    """Run a module with this process's output; a status other than 0 is reported, and no error."""
    command = [sys.executable, "-m", name, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        say(f"(status {done.returncode})")


def profile(context: Context) -> None:
    """Time by kernel of one batch."""
    from benchmarks.musetalk_profile import kernels_of_a_batch

    kernels_of_a_batch(is_cuda=context.is_cuda, say=say)


def levers(context: Context) -> None:
    """Each lever alone, and all but one."""
    from benchmarks.musetalk_levers import levers as say_levers

    say_levers(is_cuda=context.is_cuda, say=say)


def memory(context: Context) -> None:
    """Memory by batch size."""
    from benchmarks.musetalk_profile import memory_by_batch

    memory_by_batch(is_cuda=context.is_cuda, say=say)


SECTIONS: dict[str, Callable[[Context], None]] = {
    "models": models,
    "ladder": ladder,
    "beside": beside,
    "throughput": throughput,
    "tests": gpu_tests,
    "preparing": preparing,
    "levers": levers,
    "decoders": decoders,
    "accuracy": accuracy,
    "profile": profile,
    "viseme": viseme,
    "memory": memory,
    "sigterm": sigterm,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu_sections", description=__doc__)
    parser.add_argument("name", choices=SECTIONS)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args()
    SECTIONS[options.name](Context(options.models, options.device))
    return 0


if __name__ == "__main__":
    sys.exit(main())
