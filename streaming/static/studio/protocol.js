/** The console of the protocol page: a session of its own, and the examples sent as they stand. */

import { AvatarClient, streamAddress } from "../avatar/client.js";
import { element, on } from "./elements.js";

const LINES = 200;

const console_ = /** @type {HTMLElement} */ (document.querySelector(".console"));
const log = element("log", HTMLOListElement);
const state = element("state", HTMLElement);
const connect = element("connect", HTMLButtonElement);
const client = new AvatarClient({
  userId: console_.dataset.user ?? "guest",
  token: sessionStorage.getItem("token") ?? undefined,
  binary: false, // everything is to be read
});
let frames = 0;

element("address", HTMLElement).textContent = streamAddress(client.userId);

/** Long base64 is not read by anybody. @param {string} _key @param {unknown} value */
const shorten = (_key, value) =>
  typeof value === "string" && value.length > 64
    ? `${value.slice(0, 24)}… (${value.length})`
    : value;

/** @param {"in" | "out"} direction @param {any} message */
function write(direction, message) {
  const line = document.createElement("li");
  line.className = direction;
  line.classList.toggle("problem", message.type === "ERROR");
  line.textContent = JSON.stringify(message, shorten);
  log.append(line);
  while (log.childElementCount > LINES) log.firstElementChild?.remove();
  log.scrollTop = log.scrollHeight;
}

const isOn = () => !["off", "stopped"].includes(client.status.name);

function show() {
  const { name } = client.status;
  state.textContent =
    name === "live" ? `Live, ${frames} frames` : isOn() ? "Connecting" : "Not connected";
  connect.textContent = isOn() ? "Close" : "Connect";
  connect.classList.toggle("primary", !isOn());
}

on(client, "status", show);
on(client, "message", ({ direction, message }) => {
  if (message.type === "VIDEO_FRAME" || message.type === "ACTION_FRAME") {
    if (frames++ % 25 === 0) show();
  } else write(direction, message);
});
connect.addEventListener("click", () => {
  frames = 0;
  if (isOn()) client.close();
  else client.connect();
});

/** A session, opened if there is none. @returns {Promise<void>} */
function session() {
  if (client.session) return Promise.resolve();
  if (!isOn()) client.connect();
  return new Promise((resolve) => client.addEventListener("open", () => resolve(), { once: true }));
}

for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (
  document.querySelectorAll(".send")
))
  button.addEventListener("click", async () => {
    const { type, data } = JSON.parse(button.previousElementSibling?.textContent ?? "");
    if (type === "INIT" && !client.session)
      client.connect(); // it is what a connection begins with
    else {
      await session();
      client.send(type, data);
    }
    button.textContent = "Sent";
    setTimeout(() => (button.textContent = "Send this"), 1200);
  });
