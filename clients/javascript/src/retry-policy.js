/** What to do when a connection has ended: try again, when, and what to call it. Pure. */

const FIRST_MS = 400;
const LAST_MS = 5_000;
/** A session is kept for half a minute: it is worth more attempts. */
const LAST_KEPT_MS = 2_000;
const NOT_READY_MS = 2_000;

/**
 * Why there is no connection. `ended`, `token` and an `avatar` that is not merely being prepared
 * are final, and so is a session that cannot be watched; the others pass.
 * @typedef {"lost" | "shutdown" | "busy" | "avatar" | "token" | "ended" | "unwatchable"} Reason
 *
 * @typedef {{code: string, message: string, details?: Record<string, any>}} ErrorData
 */

/** The server's close codes; any other one is an accident. */
const REASONS = /** @type {Record<number, Reason>} */ ({
  1000: "ended",
  4012: "shutdown",
  4401: "token",
  4404: "avatar",
  4408: "ended",
  4409: "ended",
  4429: "busy",
});

/**
 * @param {object} end
 * @param {number} end.code of the close
 * @param {ErrorData} [end.problem] the last ERROR before it
 * @param {number} end.attempt how many attempts have failed in a row
 * @param {Reason} end.before why the one before it ended
 * @param {boolean} [end.isKept] whether the session can still be resumed
 * @param {number} [end.chance] 0 to 1: clients of a restarted server spread out
 * @returns {{reason: Reason, waitMs: number | undefined}} without a wait trying again is of no use
 */
export function afterEnd({
  code,
  problem,
  attempt,
  before,
  isKept = false,
  chance = Math.random(),
}) {
  let reason = REASONS[code] ?? "lost";
  // That nobody answers while the server restarts is no news.
  if (reason === "lost" && attempt > 0) reason = before;
  const isPreparing = reason === "avatar" && problem?.details?.reason === "preparing";
  if (isPreparing) return { reason, waitMs: NOT_READY_MS };
  if (reason === "ended" || reason === "token" || reason === "avatar")
    return { reason, waitMs: undefined };
  const longestMs = isKept ? LAST_KEPT_MS : LAST_MS;
  const backOffMs = Math.min(longestMs, FIRST_MS * 2 ** attempt) * (0.75 + chance / 2);
  return { reason, waitMs: problem?.details?.retry_after_ms ?? backOffMs };
}
