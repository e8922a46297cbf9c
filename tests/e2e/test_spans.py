"""Spans of an utterance over real processes, as a collector is sent them."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.talking import Server
from tests.e2e.test_serve import HUM
from tests.processes import Process, free_port

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Sent:
    """A span that came."""

    name: str
    process: str
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    start_ns: int
    end_ns: int


class Collector(ThreadingHTTPServer):
    """Takes spans as OTLP over HTTP."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.came: list[Sent] = []
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            known = {
                each.key: each.value.string_value for each in resource_spans.resource.attributes
            }
            assert known["service.name"] == "talking-avatar"
            for span in (s for scope in resource_spans.scope_spans for s in scope.spans):
                self.server.came.append(
                    Sent(
                        span.name,
                        known["service.instance.id"],
                        span.trace_id,
                        span.span_id,
                        span.parent_span_id,
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                    )
                )
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.end()


async def speak(server: Server) -> None:
    async with server.stream("ann") as stream:
        await stream.frames(5)
        await stream.say(HUM)
        while "audio_timestamp" not in await stream.wait_for("VIDEO_FRAME"):
            pass
        await stream.send("INTERRUPT")
        await stream.wait_for("INTERRUPTED")


@pytest.mark.parametrize("is_apart", [False, pytest.param(True, marks=pytest.mark.lasting)])
async def test_the_parts_of_an_utterance_over_gateway_worker_and_engine(
    start: Callable[..., Process],
    serve: Callable[..., Server],
    redis_url: str,
    collector: Collector,
    is_apart: bool,
) -> None:
    variables = {"TRACES_URL": collector.url}
    workers = []
    if is_apart:
        variables["CHANNEL_REDIS_URL"] = redis_url
        workers = [start("manage.py", "runworker", "inference", **variables)]
        workers[0].wait_for("takes sessions")
    server = serve(*(["--no-worker"] if is_apart else ["--processes", "1"]), **variables)
    for _ in range(3):  # on a busy machine a first mouth may come too late, or be asked for again
        await speak(server)
    for process in (server.process, *workers):  # what is left is sent at the end
        assert await asyncio.to_thread(process.end) == 0
        assert "Traceback" not in process.output, process.output[-3_000:]
    traces: dict[bytes, list[Sent]] = {}
    for span in collector.came:
        traces.setdefault(span.trace_id, []).append(span)
    assert len(traces) == 3, "one for each utterance"
    order = ["utterance", "utterance.first_frame", "worker.first_frame", "engine.mouth"]
    whole_ones = [trace for trace in traces.values() if {s.name for s in trace} == set(order)]
    assert whole_ones, traces
    spans = {span.name: span for span in whole_ones[0]}
    parents = [spans[name].parent_id for name in order]
    assert parents == [b"", *(spans[name].span_id for name in order[:-1])]
    for whole, part in pairwise(order):
        assert spans[whole].start_ns <= spans[part].start_ns
    assert spans["utterance"].end_ns >= spans["utterance.first_frame"].end_ns
    assert spans["utterance.first_frame"].end_ns >= spans["worker.first_frame"].end_ns
    assert (spans["utterance"].process != spans["engine.mouth"].process) is is_apart


@pytest.mark.lasting
async def test_a_collector_that_cannot_be_reached_is_one_line_and_costs_no_frame(
    serve: Callable[..., Server],
) -> None:
    port = free_port()
    server = serve(
        "--processes",
        "1",
        TRACES_URL=f"http://127.0.0.1:{port}/v1/traces",
        OTEL_BSP_SCHEDULE_DELAY="200",
    )
    for _ in range(2):
        await speak(server)
    await asyncio.to_thread(server.process.wait_for, "spans cannot be sent", 30)
    async with server.stream("ann") as stream:
        frames = await stream.frames(50)
        assert frames[-1]["frame_timestamp"] - frames[0]["frame_timestamp"] == 49 * 40
    back = Collector(port)
    await speak(server)
    await asyncio.to_thread(server.process.wait_for, "again", 30)
    assert await asyncio.to_thread(server.process.end) == 0
    back.end()
    assert server.process.output.count("spans cannot be sent") == 1
    assert "Traceback" not in server.process.output


def test_without_traces_nothing_of_it_is_imported(start: Callable[..., Process]) -> None:
    code = (
        "import sys, django; django.setup(); import musetalk_site.asgi, musetalk_site.server.app\n"
        "import musetalk_site.telemetry.spans\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    process = start("-c", code)
    assert process.wait(60) == 0, process.output
