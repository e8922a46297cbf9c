import assert from "node:assert/strict";
import test from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { AvatarClient, streamAddress } from "../../../clients/javascript/src/client.js";
import { watchTokensAddress } from "../../../clients/javascript/src/watch-tokens.js";

const SERVER = "https://avatars.example";
const OPENED = { protocol_version: "1.2", resume: { token: "t1", window_ms: 30_000 } };

/** The browser's end of a connection; a test is the server's. */
class Socket {
  static OPEN = 1;
  /** @type {Socket[]} */
  static made = [];
  readyState = 0;
  protocol = "";
  /** @type {any[]} */
  sent = [];

  constructor(url, protocols = []) {
    Object.assign(this, { url, protocols });
    Socket.made.push(this);
  }

  open(protocol = "musetalk.v1.json") {
    this.protocol = protocol;
    this.readyState = Socket.OPEN;
    this.onopen();
  }

  send(content) {
    this.sent.push(JSON.parse(content));
  }

  tell(type, data, session_id = "s1") {
    this.onmessage({ data: JSON.stringify({ type, session_id, data }) });
  }

  lose(code = 1006) {
    this.onclose?.({ code });
  }

  close(code) {
    this.closedWith = code;
  }
}
globalThis.WebSocket = /** @type {any} */ (Socket);

/** A client whose jitter and waits are short, and what it told. */
function setUp(options = {}) {
  Socket.made = [];
  const client = new AvatarClient({ userId: "me", server: SERVER, ...options });
  const told = [];
  for (const name of ["open", "resumed", "session-lost", "problem"])
    client.addEventListener(name, (event) => told.push([name, event.detail]));
  client.connect();
  return { client, told, next: () => Socket.made.at(-1) };
}

/** Until the client has tried again. @param {number} count of connections */
async function connections(count) {
  for (let tries = 0; Socket.made.length < count && tries < 200; tries++) await pause(10);
  assert.equal(Socket.made.length, count);
  return Socket.made[count - 1];
}

/** A client with everything that the session needs, and its socket. */
async function opened(options) {
  const made = setUp(options);
  const socket = made.next();
  socket.open();
  await pause(0);
  socket.tell("INIT_SUCCESS", OPENED);
  return { ...made, socket };
}

test("addresses lead to the user's stream and the session's process", () => {
  assert.equal(streamAddress("me", SERVER), "wss://avatars.example/musetalk/v1/ws/me");
  assert.equal(
    streamAddress("a b", "http://localhost:8000/page", "s1"),
    "ws://localhost:8000/musetalk/v1/ws/a%20b?session=s1",
  );
});

test("a name that no server takes is refused here, and not tried again", () => {
  for (const userId of ["not a name", "", "a".repeat(65), "me\n"]) {
    const { client, told, next } = setUp({ userId });
    assert.equal(next(), undefined, "no connection is opened");
    assert.deepEqual([client.status.name, client.status.reason], ["stopped", "avatar"]);
    assert.match(client.status.problem?.message ?? "", /1 to 64 letters/);
    assert.equal(told.at(-1)?.[0], "problem");
  }
});

test("a server that selects no subprotocol is tried without, and then always so", async (t) => {
  const { client } = setUp();
  t.after(() => client.close());
  assert.deepEqual(Socket.made[0].protocols, ["musetalk.v1.binary", "musetalk.v1.json"]);
  Socket.made[0].lose();
  const plain = await connections(2);
  assert.deepEqual(plain.protocols, []);
  plain.open("");
  plain.lose();
  assert.deepEqual((await connections(3)).protocols, []);
});

test("a lost session is resumed with its token, on the address that names it", async (t) => {
  const { client, told, socket } = await opened();
  t.after(() => client.close());
  client.sendSpeech(new Int16Array(640), { utteranceId: "a" });
  socket.lose();
  assert.equal(client.status.name, "retrying");
  assert.ok(client.status.keptUntilMs > performance.now());
  const again = await connections(2);
  assert.match(again.url, /\?session=s1$/);
  again.open();
  await pause(0);
  assert.equal(again.sent[0].session_id, "s1");
  assert.equal(again.sent[0].data.resume_token, "t1");
  assert.equal(again.sent[0].data.utterance_id, "a");
  again.tell("INIT_SUCCESS", { ...OPENED, resumed: true, next_audio_ms: 40 });
  assert.deepEqual(told.map(([name]) => name), ["open", "resumed"]);
  assert.equal(client.sentSamples, 640);
});

test("a session that the server does not know any more is followed by another one", async (t) => {
  const { client, told, socket } = await opened();
  t.after(() => client.close());
  socket.lose();
  const again = await connections(2);
  again.open();
  await pause(0);
  again.tell("ERROR", { code: "INVALID_SESSION", message: "The token does not fit." });
  await pause(0);
  assert.equal(again.sent[1].session_id, null);
  assert.equal(again.sent[1].data.resume_token, undefined);
  again.tell("INIT_SUCCESS", OPENED, "s2");
  assert.deepEqual(told.map(([name]) => name), ["open", "session-lost", "open"]);
  assert.equal(client.sessionId, "s2");
});

test("an end that was meant is not followed by anything", async () => {
  const { client, socket } = await opened();
  socket.lose(4409);
  assert.equal(client.status.name, "stopped");
  await pause(700);
  assert.equal(Socket.made.length, 1);
});

test("taking leave closes with 1000, and giving up does not", async () => {
  const { client, socket } = await opened();
  client.close();
  assert.equal(socket.sent.at(-1).type, "CLOSE");
  assert.equal(socket.closedWith, 1000);
  const other = await opened();
  other.socket.lose();
  assert.equal(other.socket.closedWith, 4000);
  other.client.close();
});

test("a token is fetched for each connection", async (t) => {
  let count = 0;
  const { client, socket } = await opened({ token: async () => `token-${++count}` });
  t.after(() => client.close());
  assert.equal(socket.sent[0].data.auth_token, "token-1");
  socket.lose();
  const again = await connections(2);
  again.open();
  await pause(0);
  assert.equal(again.sent[0].data.auth_token, "token-2");
});

test("a token that cannot be had is reported and tried again", async (t) => {
  const { client, next } = setUp({ token: () => Promise.reject(new Error("offline")) });
  t.after(() => client.close());
  next().open();
  await pause(0);
  assert.equal(client.status.name, "retrying");
  assert.match(client.status.problem.message, /offline/);
  await connections(2);
});

test("a watcher names session and token, speaks not, and stops where there is nothing", async () => {
  const { client, next } = setUp({ watch: { sessionId: "s9", token: "w" } });
  assert.match(next().url, /\?session=s9$/);
  next().open();
  await pause(0);
  const [init] = next().sent;
  assert.deepEqual([init.session_id, init.data.role, init.data.watch_token], ["s9", "watch", "w"]);
  next().tell("ERROR", { code: "INVALID_SESSION", message: "No." });
  assert.equal(client.status.reason, "unwatchable");
  assert.equal(client.sendSpeech(new Int16Array(640)), -1);
});

test("another watch token is asked for with the session's credential", async () => {
  const { client, next } = setUp({ token: () => "secret", allowWatchers: true });
  await assert.rejects(client.newWatchToken(), /no session/);
  next().open();
  await pause(1);
  next().tell("INIT_SUCCESS", { ...OPENED, watch: { token: "w1" } });
  const asked = [];
  const answers = [
    { ok: true, status: 201, json: async () => ({ token: "w2" }) },
    { ok: false, status: 404, json: async () => ({ detail: "open it with allow_watchers" }) },
  ];
  globalThis.fetch = /** @type {any} */ (
    async (url, options) => {
      asked.push([url, options.method, options.headers.Authorization]);
      return answers.shift();
    }
  );
  assert.equal(await client.newWatchToken(), "w2");
  assert.deepEqual(asked, [[watchTokensAddress("s1", SERVER), "POST", "Bearer secret"]]);
  assert.equal(asked[0][0], "https://avatars.example/sessions/s1/watch_tokens");
  await assert.rejects(client.newWatchToken(), /allow_watchers/);
  client.close();
});

test("an interrupt that was not answered is sent again where the session is resumed", async () => {
  const { client, socket } = await opened();
  client.interrupt();
  socket.lose();
  let next = await connections(2);
  next.open();
  await pause(0);
  next.tell("INIT_SUCCESS", { ...OPENED, resumed: true, next_audio_ms: 0 });
  assert.deepEqual(next.sent.map(({ type }) => type), ["INIT", "INTERRUPT"]);
  assert.equal(next.sent[1].data.number, socket.sent.at(-1).data.number, "known by its number");
  next.tell("INTERRUPTED", { dropped_ms: 0 });
  next.lose();
  next = await connections(3);
  next.open();
  await pause(0);
  next.tell("INIT_SUCCESS", { ...OPENED, resumed: true, next_audio_ms: 0 });
  assert.deepEqual(next.sent.map(({ type }) => type), ["INIT"]);
  client.close();
});
