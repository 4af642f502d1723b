/**
 * The GOAWAY frames of a peer, merged into one. RFC 9113, section 6.8.
 *
 * A peer may send several, and the first may say more than the last. A code or
 * text replaces an earlier one unless it is empty. The replaced texts are kept,
 * since one of them may hold the reason.
 */
import { Code } from "../frame/frame.ts"
import type { Goaway } from "../Message.ts"

/** At most this many replaced texts are kept. Those that may hold a reason go first. */
const maxEarlier = 4

/** Reasons are JSON objects. */
const mayHoldReason = (text: string): boolean => text.startsWith("{")

/** Adds a text. When there are too many, one that may hold a reason replaces one that can't. */
const withText = (texts: ReadonlyArray<string>, text: string): ReadonlyArray<string> => {
  if (texts.length < maxEarlier) return [...texts, text]
  const at = mayHoldReason(text) ? texts.findIndex((other) => !mayHoldReason(other)) : -1
  return at < 0 ? texts : texts.with(at, text)
}

/** Merges a GOAWAY with the ones before it. */
export const merged = (before: Goaway | undefined, next: Goaway): Goaway => {
  if (before === undefined) return next
  const debug = next.debug === "" ? before.debug : next.debug
  const known = before.earlier ?? []
  const isReplaced = before.debug !== "" && before.debug !== debug && !known.includes(before.debug)
  const earlier = isReplaced ? withText(known, before.debug) : known
  return {
    // A later GOAWAY may lower it, never raise it.
    lastStreamId: Math.min(before.lastStreamId, next.lastStreamId),
    code: next.code === Code.noError ? before.code : next.code,
    debug,
    ...(earlier.length === 0 ? {} : { earlier })
  }
}
