/** The page: makes the client and the player, and hands them to the parts that show and direct them. */

import { AvatarClient } from "../avatar/client.js";
import { AvatarPlayer } from "../avatar/player.js";
import { Composer } from "./composer.js";
import { Director } from "./director.js";
import { Measuring } from "./measuring.js";
import { OwnAvatar } from "./own-avatar.js";
import { Stage } from "./stage.js";
import { Timeline } from "./timeline.js";

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const asked = new URLSearchParams(location.search);

const client = new AvatarClient({
  userId: asked.get("avatar") ?? main.dataset.user ?? "guest",
  token: sessionStorage.getItem("token") ?? undefined,
});
const decoder = /** @type {"auto" | "webcodecs" | "mse"} */ (asked.get("decoder") ?? "auto");
const picture = /** @type {HTMLElement} */ (document.getElementById("picture"));
const player = new AvatarPlayer(client, picture, { decoder });

new Stage(client, player);
new Timeline(player);
new Director(client);
new OwnAvatar(client);
new Composer(client, player);
new Measuring(client, player);

// For the console, and for those who measure.
Object.assign(globalThis, { studio: { client, player } });

client.connect();
