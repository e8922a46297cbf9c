/**
 * Watch tokens for sessions that outlast theirs: a token admits for an hour, and the owner of a
 * longer session asks a server with `AUTH` for another one.
 */

/**
 * Where another watch token of a session comes from.
 * @param {string} sessionId @param {string} [server] http(s):// or ws(s)://; default: the page's own
 */
export function watchTokensAddress(sessionId, server = location.href) {
  const url = new URL(`/sessions/${encodeURIComponent(sessionId)}/watch_tokens`, server);
  url.protocol = url.protocol.replace("ws", "http");
  return url.href;
}

/**
 * @param {string} address @param {string | undefined} credential that opened the session
 * @returns {Promise<string>}
 */
export async function requestWatchToken(address, credential) {
  const answer = await fetch(address, {
    method: "POST",
    headers: credential ? { Authorization: `Bearer ${credential}` } : {},
    credentials: "omit",
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok || typeof said.token !== "string")
    throw new Error(said.detail ?? `The server gives no watch token (HTTP ${answer.status}).`);
  return said.token;
}
