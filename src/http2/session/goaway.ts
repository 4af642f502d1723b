/**
 * What a peer says when it takes no more requests. RFC 9113, section 6.8.
 *
 * It may say it more than once, and what it says first may tell more than what
 * it says last: {@link merged} is the one place where these words are put
 * together. Each part of a word is replaced by one that says something, and the
 * text that gives way is kept: the reason is in one of them.
 */
import { Code } from "../frame/frame.ts"
import type { Goaway } from "../Message.ts"

/** So many other texts are kept: those that may tell a reason, before those that can't. */
const maxEarlier = 4

/** Reasons come in JSON. */
const mayTell = (text: string): boolean => text.startsWith("{")

/** These, and one more: where there are too many, in the place of one that tells nothing, if it may tell something. */
const withText = (texts: ReadonlyArray<string>, text: string): ReadonlyArray<string> => {
  if (texts.length < maxEarlier) return [...texts, text]
  const at = mayTell(text) ? texts.findIndex((other) => !mayTell(other)) : -1
  return at < 0 ? texts : texts.with(at, text)
}

/** What two of them say together. */
export const merged = (before: Goaway | undefined, next: Goaway): Goaway => {
  if (before === undefined) return next
  const debug = next.debug === "" ? before.debug : next.debug
  const known = before.earlier ?? []
  const isReplaced = before.debug !== "" && before.debug !== debug && !known.includes(before.debug)
  const earlier = isReplaced ? withText(known, before.debug) : known
  return {
    // It may be lowered by a later one, never raised.
    lastStreamId: Math.min(before.lastStreamId, next.lastStreamId),
    code: next.code === Code.noError ? before.code : next.code,
    debug,
    ...(earlier.length === 0 ? {} : { earlier })
  }
}
