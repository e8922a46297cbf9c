/** Requests of the page to its own server, whose failures are sentences. */

/**
 * @param {string} address
 * @param {RequestInit & {token?: string | (() => unknown)}} [options] token: what the stream was
 *   opened with
 * @returns {Promise<Response>} @throws {Error} with a sentence, if nothing answers
 */
export async function request(address, { token, ...options } = {}) {
  const headers = new Headers(options.headers);
  if (typeof token === "string") headers.set("Authorization", `Bearer ${token}`);
  try {
    return await fetch(address, { ...options, headers });
  } catch {
    throw new Error("The server does not answer.");
  }
}
