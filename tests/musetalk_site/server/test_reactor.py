"""The reactor: a reset ends a connection."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

SERVER = """
import os, socket, struct, threading, time
from musetalk_site.server import reactor as ours
from twisted.internet import protocol, reactor

received = bytearray()

class Connection(protocol.Protocol):
    def connectionMade(self):
        time.sleep(0.5)  # the client sends and resets before this ends

    def dataReceived(self, data):
        received.extend(data)

    def connectionLost(self, reason):
        print(received.decode(), "lost", flush=True)
        os._exit(0)

def connect(port):
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"last words")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()

factory = protocol.Factory.forProtocol(Connection)
port = reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port
threading.Thread(target=connect, args=(port,), daemon=True).start()
reactor.callLater(10, os._exit, 1)
reactor.run()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="as Linux reports a reset")
def test_a_reset_behind_the_last_message_ends_the_connection() -> None:
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SERVER],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.stdout.split() == ["last", "words", "lost"], said.stderr
