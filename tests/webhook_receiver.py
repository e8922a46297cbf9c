"""An HTTPS server that webhooks are sent to."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.certificates import Certificate


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent, and answers as a test says."""

    daemon_threads = True

    def __init__(self, certificate: Certificate) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.chain, certificate.key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.status = 204
        self.delay_s = 0.0
        self.came: list[tuple[str, dict[str, str], str]] = []

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server_port}/hook?a=b"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.came.append((self.path, dict(self.headers), body))
        end_s = time.monotonic() + self.server.delay_s
        try:
            while time.monotonic() < end_s:  # alive, and never done
                self.wfile.write(b"H")
                time.sleep(0.05)
            self.send_response(self.server.status)
            self.send_header("Location", "https://localhost:1/elsewhere")
            self.end_headers()
        except OSError:
            pass

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def receiving(certificate: Certificate) -> Iterator[Receiver]:
    """A receiver that runs."""
    server = Receiver(certificate)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
