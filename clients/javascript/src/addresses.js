/** Where a server's streams are, and whose they can be. Pure. */

/** What fits into an address: the server's own rule. */
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * @param {string} userId @param {string} [server] http(s):// or ws(s)://; default: the page's own
 * @param {string | null} [sessionId] leads to the process that has this session
 */
export function streamAddress(userId, server = location.href, sessionId) {
  const url = new URL(`/musetalk/v1/ws/${encodeURIComponent(userId)}`, server);
  url.protocol = url.protocol.replace("http", "ws");
  if (sessionId) url.searchParams.set("session", sessionId);
  return url.href;
}

/**
 * What is wrong with a name. Servers refuse such an address, and browsers do not say that they did.
 * @param {string} userId @returns {import("./retry-policy.js").ErrorData | undefined}
 */
export function nameProblem(userId) {
  if (NAME.test(userId)) return undefined;
  return {
    code: "MODEL_NOT_FOUND",
    message: `“${userId}” is no user's name: those have 1 to 64 letters, digits, hyphens and underscores.`,
    details: { reason: "none" },
  };
}
