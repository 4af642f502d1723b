/** What we tell the peer of ourselves, first of all. RFC 9113, section 3.4. */
import * as Frame from "../frame/frame.ts"
import type { Output } from "../session/output.ts"

/** Our window for all answers together, in bytes. */
export const connectionWindow = 16 * 1024 * 1024

/** The most that the headers of an answer may take, in bytes, as HPACK counts them. */
export const maxHeaderListSize = 65536

/**
 * The window of a stream is as large as an answer may be, and this in bytes:
 * padding must not use it up.
 */
export const maxPadding = 16384

/** Writes the preface and our settings. */
export const putPreface = (out: Output, maxResponseSize: number): void => {
  out.append(Frame.preface)
  Frame.putSettings(out, [
    // No table for answers: it would cost more than it saves.
    [Frame.Setting.headerTableSize, 0],
    [Frame.Setting.enablePush, 0],
    // One byte more than is taken, so that an answer that is too long can be told from one that waits.
    [Frame.Setting.initialWindowSize, Math.min(maxResponseSize + 1 + maxPadding, Frame.maxWindow)],
    [Frame.Setting.maxHeaderListSize, maxHeaderListSize]
  ])
  Frame.putWindowUpdate(out, 0, connectionWindow - Frame.initialWindow)
}
