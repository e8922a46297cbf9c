"""The numbers of this process: what its parts count anyway, so a stream does not notice."""

import os
import platform
import resource
from collections import Counter

from avatars_app.preparation.stage_times import STAGE_EDGES_S, StageTimes
from inference.metrics import DURATION_EDGES_MS, SIZE_EDGES, DurationHistogram, SizeHistogram
from inference.runtime.host_report import HostReport
from musetalk_site.telemetry.families import (
    Histogram,
    Labels,
    Snapshot,
    counter,
    gauge,
    histogram,
    labels,
    restarts,
)
from streaming.gateway.registry import Registry
from streaming.session.connection_state import State
from streaming.session.metrics import SessionMetrics


def snapshot(
    registry: Registry,
    report: HostReport | None,
    stages: StageTimes | None = None,
    *,
    tasks: int = 0,
) -> Snapshot:
    """Return what this process has done and does.

    Args:
        registry: Its connections.
        report: Of the worker in it; None where there is none.
        stages: Of the preparations that it runs; None where it runs none.
        tasks: Of its event loop.
    """
    return (
        *_sessions(registry),
        *_traffic(registry.metrics()),
        *(() if report is None else (*_places(report), *_frames(report), *_engine(report))),
        *(() if stages is None else _preparations(stages)),
        *_process(tasks),
    )


def _sessions(registry: Registry) -> Snapshot:
    return (
        gauge("sessions", "Sessions by what they do now.", _sessions_by_state(registry)),
        gauge(
            "watchers",
            "Connections that watch a session.",
            sum(len(connection.session.audience) for connection in registry),
        ),
        counter("connections_total", "WebSocket connections accepted.", registry.connections_ever),
        counter(
            "session_starts_total",
            "Sessions by the outcome of their start: a worker took it, or why none did.",
            {labels(outcome=outcome): count for outcome, count in registry.starts().items()},
        ),
        counter(
            "sessions_ended_total",
            "Sessions that ended, by the cause.",
            {labels(cause=cause): count for cause, count in registry.ends().items()},
        ),
        counter("resumes_total", "Sessions resumed on another connection.", registry.resumes),
    )


def _traffic(metrics: SessionMetrics) -> Snapshot:
    """Return what clients sent and were sent, and how soon."""
    return (
        counter("frames_sent_total", "Frames sent to clients.", metrics.frames_sent),
        counter(
            "frames_dropped_total",
            "Frames left out for clients that read too slowly, or after gaps.",
            metrics.frames_held_back,
        ),
        counter("video_bytes_total", "Bytes of H.264 sent.", metrics.video_bytes),
        counter(
            "websocket_bytes_total",
            "Bytes of messages, without the frames around them.",
            {
                labels(direction="in"): metrics.received_bytes,
                labels(direction="out"): metrics.sent_bytes,
            },
        ),
        counter("speech_seconds_total", "Speech accepted.", metrics.samples / 16_000),
        counter("messages_received_total", "Messages of clients.", metrics.messages),
        counter("workers_lost_total", "Workers that sessions lost.", metrics.workers_lost),
        counter(
            "errors_total",
            "ERROR messages sent, by code.",
            {labels(code=code): count for code, count in metrics.errors.items()},
        ),
        histogram(
            "frame_delay_seconds",
            "How much later than the soonest of its session a frame reached the gateway.",
            _durations(metrics.lateness),
        ),
        histogram(
            "audio_to_frame_seconds",
            "From the first chunk of an utterance, if no other one is shown, to its first frame.",
            _durations(metrics.audio_to_frame),
        ),
        histogram(
            "interrupt_seconds",
            "From INTERRUPT to the last frame of what it interrupts.",
            _durations(metrics.interrupts),
        ),
    )


def _sessions_by_state(registry: Registry) -> dict[Labels, float]:
    found: Counter[tuple[str, str]] = Counter()
    for connection in registry:
        session, link = connection.session, connection.session.link
        if link is None:
            continue
        state = "speaking" if link.queued_ms else "idle"
        if session.state is State.DETACHED:
            state = "detached"
        elif link.worker is None:
            state = "waiting"
        found[state, link.last_worker.engine if link.last_worker else ""] += 1
    for state in ("speaking", "idle", "waiting", "detached"):
        if not any(state == each for each, _ in found):
            found[state, ""] = 0
    return {labels(state=state, engine=engine): count for (state, engine), count in found.items()}


def _places(report: HostReport) -> Snapshot:
    engine = labels(engine=report.engine)
    return (
        gauge("worker_sessions", "Sessions that workers have.", {engine: report.sessions}),
        gauge(
            "engine_healthy",
            "Workers whose engine is healthy.",
            {engine: report.engine_state.is_healthy},
        ),
        gauge("places_used", "Sessions that hold a place to speak.", {engine: report.speaking}),
        gauge(
            "places",
            "Places to speak; none where they are not known.",
            ({} if report.places is None else {engine: report.places}),
        ),
    )


def _frames(report: HostReport) -> Snapshot:
    totals = report.totals
    made = {
        "sent": totals.sent,
        "spoken": totals.spoken,
        "held": totals.held,
        "repeated": totals.skipped,
        "given_up": totals.given_up,
    }
    return (
        counter(
            "frames_total",
            "Frames by kind: sent in all, with speech; with a mouth held because sound was late, "
            "repeated because the engine was late; numbers given up after a stall.",
            {labels(kind=kind): count for kind, count in made.items()},
        ),
        counter(
            "utterances_delayed_frames_total",
            "Frames by which utterances began later because the engine was late.",
            totals.delayed_starts,
        ),
        counter(
            "speech_skipped_seconds_total",
            "Late speech that was left out.",
            totals.skipped_samples / 16_000,
        ),
        histogram(
            "frame_lateness_seconds",
            "How long after it was due a frame left its worker.",
            _durations(totals.lateness),
        ),
        histogram(
            "encode_seconds", "How long encoding a live frame took.", _durations(report.encoding)
        ),
    )


def _engine(report: HostReport) -> Snapshot:
    return (
        gauge("engine_jobs_waiting", "Mouths that wait for the engine.", report.waiting_jobs),
        histogram(
            "engine_call_seconds",
            "How long a call of the engine took.",
            _durations(report.calls.durations),
        ),
        histogram(
            "engine_batch_mouths", "Mouths in a call of the engine.", _sizes(report.calls.sizes)
        ),
    )


def _preparations(stages: StageTimes) -> Snapshot:
    edges = tuple(map(float, STAGE_EDGES_S))
    return (
        histogram(
            "preparation_stage_seconds",
            "How long the stages of preparations took, to a second.",
            {
                labels(stage=stage): Histogram(edges, tuple(times.counts), times.total_s)
                for stage, times in list(stages.by_stage.items())
            },
        ),
    )


def _process(tasks: int) -> Snapshot:
    used = resource.getrusage(resource.RUSAGE_SELF)
    process = labels(process=f"{platform.node()}:{os.getpid()}")
    return (
        restarts(0),  # the supervisor counts them, where there is one
        counter(
            "process_cpu_seconds_total", "Processor time.", {process: used.ru_utime + used.ru_stime}
        ),
        gauge("process_resident_bytes", "Memory.", {process: _resident_bytes()}),
        gauge("process_tasks", "Tasks of the event loop.", {process: tasks}),
    )


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - read each time
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux: the most that there ever was
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024


def _durations(durations: DurationHistogram) -> Histogram:
    edges = tuple(edge / 1_000 for edge in DURATION_EDGES_MS)
    return Histogram(edges, tuple(durations.counts), durations.total_s)


def _sizes(sizes: SizeHistogram) -> Histogram:
    return Histogram(SIZE_EDGES, tuple(sizes.counts), float(sizes.total))
