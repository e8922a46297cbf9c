"""A LiveKit server, as small as two participants and a viewer need it: signaling, data, tracks.

It speaks LiveKit's own protocol (its messages are those of ``livekit-protocol``) with real rooms of
the ``livekit`` package, over WebSocket, ICE, DTLS, SCTP and RTP by aiortc. It forwards data
packets; tracks end in its own `Viewer`, who decodes them. What it does not have: forwarding of
media, congestion control, reconnection, more than one room.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters
from aiortc.sdp import candidate_from_sdp
from fake_room import Viewer
from livekit import api
from livekit.protocol import models
from livekit.protocol import rtc as signal

KEY, SECRET = "devkey", "secret of a server that lives for seconds"
VERSION = "1.9.0"
CANDIDATES_S = 0.5
"""aiortc wants a peer's candidates before it begins."""
LAYER_NAMES = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
if all(one.uri != LAYER_NAMES for one in HEADER_EXTENSIONS["video"]):
    # LiveKit's tracks are offered in layers of several sizes; aiortc takes one of them.
    HEADER_EXTENSIONS["video"].append(RTCRtpHeaderExtensionParameters(id=9, uri=LAYER_NAMES))


@dataclass
class Peer:
    """A participant that joined."""

    info: Any
    socket: web.WebSocketResponse
    connection: RTCPeerConnection = field(default_factory=RTCPeerConnection)
    channel: Any = None
    candidates: list[Any] = field(default_factory=list)
    tracks: list[asyncio.Task[None]] = field(default_factory=list)

    async def send(self, **message: Any) -> None:
        if not self.socket.closed:
            await self.socket.send_bytes(signal.SignalResponse(**message).SerializeToString())


class SmallLiveKit:
    """The server, with one room."""

    def __init__(self) -> None:
        self.peers: dict[str, Peer] = {}
        self.viewer = Viewer()
        self.rpcs: list[tuple[str, str, str]] = []
        """Who called, which method, with what."""
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "SmallLiveKit":
        app = web.Application()
        app.router.add_get("/rtc", self._join)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"ws://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for peer in list(self.peers.values()):
            await self._leave(peer)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self._runner is not None
        await self._runner.cleanup()

    async def _join(self, request: web.Request) -> web.WebSocketResponse:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        claims = api.TokenVerifier(KEY, SECRET).verify(token)
        assert claims.video is not None
        assert claims.video.room_join
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        kinds = {"agent": models.ParticipantInfo.AGENT}
        info = models.ParticipantInfo(
            sid=f"PA_{claims.identity}",
            identity=claims.identity,
            name=claims.name,
            state=models.ParticipantInfo.ACTIVE,
            attributes=claims.attributes or {},
            kind=kinds.get(claims.kind, models.ParticipantInfo.STANDARD),
            permission=models.ParticipantPermission(
                can_publish=True, can_subscribe=True, can_publish_data=True
            ),
        )
        peer = Peer(info, socket)
        await peer.send(
            join=signal.JoinResponse(
                room=models.Room(sid="RM_1", name=claims.video.room),
                participant=info,
                other_participants=[other.info for other in self.peers.values()],
                server_version=VERSION,
                server_info=models.ServerInfo(version=VERSION, protocol=16),
                ping_interval=5,
                ping_timeout=15,
            )
        )
        self.peers[claims.identity] = peer
        await self._tell_others(peer)
        try:
            async for message in socket:
                if message.type == WSMsgType.BINARY:
                    asked = signal.SignalRequest()
                    asked.ParseFromString(message.data)
                    await self._answer(peer, asked)
        finally:
            await self._leave(peer)
        return socket

    async def _answer(self, peer: Peer, asked: Any) -> None:
        match asked.WhichOneof("message"):
            case "offer":
                self._spawn(self._negotiate(peer, asked.offer))
            case "trickle":
                peer.candidates.append(json.loads(asked.trickle.candidateInit))
            case "ping_req":
                await peer.send(pong_resp=signal.Pong(last_ping_timestamp=asked.ping_req.timestamp))
            case "add_track":
                track = models.TrackInfo(
                    sid=f"TR_{asked.add_track.cid}",
                    name=asked.add_track.name,
                    type=asked.add_track.type,
                    source=asked.add_track.source,
                )
                peer.info.tracks.append(track)
                await peer.send(
                    track_published=signal.TrackPublishedResponse(
                        cid=asked.add_track.cid, track=track
                    )
                )
                await self._tell_others(peer)
            case "leave":
                await peer.socket.close()

    async def _negotiate(self, peer: Peer, offer: Any) -> None:
        connection = peer.connection
        if peer.channel is None:
            await asyncio.sleep(CANDIDATES_S)

            @connection.on("datachannel")
            def on_datachannel(channel: Any) -> None:
                if channel.label == "_reliable":
                    peer.channel = channel
                    channel.on("message", lambda data: self._forward(peer, data))

            @connection.on("track")
            def on_track(track: Any) -> None:
                watch = self._hear if track.kind == "audio" else self._see
                peer.tracks.append(asyncio.create_task(watch(track)))

        await connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        while peer.candidates:
            one = peer.candidates.pop()
            if " udp " in one["candidate"]:
                candidate = candidate_from_sdp(one["candidate"].removeprefix("candidate:"))
                candidate.sdpMid = one["sdpMid"]
                candidate.sdpMLineIndex = one["sdpMLineIndex"]
                await connection.addIceCandidate(candidate)
        await connection.setLocalDescription(await connection.createAnswer())
        answer = signal.SessionDescription(
            type="answer", sdp=connection.localDescription.sdp, id=offer.id
        )
        await peer.send(answer=answer)
        for track in peer.info.tracks:
            await peer.send(track_subscribed=signal.TrackSubscribed(track_sid=track.sid))

    def _forward(self, sender: Peer, data: bytes) -> None:
        packet = models.DataPacket()
        packet.ParseFromString(data)
        packet.participant_identity = sender.info.identity
        packet.participant_sid = sender.info.sid
        if packet.WhichOneof("value") == "rpc_request":
            request = packet.rpc_request
            self.rpcs.append((sender.info.identity, request.method, request.payload))
        for identity in packet.destination_identities or self.peers:
            peer = self.peers.get(identity)
            if peer is not None and peer is not sender and peer.channel is not None:
                peer.channel.send(packet.SerializeToString())

    async def _hear(self, track: Any) -> None:
        try:
            while True:
                frame = await track.recv()
                samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
                self.viewer.hear(np.ascontiguousarray(samples))
        except MediaStreamError:
            return

    async def _see(self, track: Any) -> None:
        try:
            while True:
                frame = await track.recv()
                self.viewer.see(frame.to_ndarray().tobytes())
        except MediaStreamError:
            return

    async def _tell_others(self, peer: Peer) -> None:
        for other in self.peers.values():
            if other is not peer:
                await other.send(update=signal.ParticipantUpdate(participants=[peer.info]))

    async def _leave(self, peer: Peer) -> None:
        if self.peers.pop(peer.info.identity, None) is None:
            return
        peer.info.state = models.ParticipantInfo.DISCONNECTED
        await self._tell_others(peer)
        await peer.connection.close()
        await asyncio.gather(*peer.tracks, return_exceptions=True)
        await peer.socket.close()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
