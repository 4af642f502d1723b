/** The connection preface of a client. RFC 9113, section 3.4. */
import * as Frame from "../frame/frame.ts"
import type { Output } from "./output.ts"

/** The flow-control window for all responses together, in bytes. */
export const connectionWindow = 16 * 1024 * 1024

/** The headers of a response may have at most this many bytes, as HPACK counts them. */
export const maxHeaderListSize = 65536

/**
 * The window of a stream is the largest response plus this, so that padding can't
 * use it up.
 */
export const maxPaddingBytes = 16384

/** Writes the preface and the client's settings. */
export const putPreface = (out: Output, maxResponseSize: number): void => {
  out.append(Frame.preface)
  Frame.putSettings(out, [
    // No dynamic table for responses: it would cost more than it saves.
    [Frame.Setting.headerTableSize, 0],
    [Frame.Setting.enablePush, 0],
    // One byte more than the limit: a response that is too large arrives, instead of waiting for window.
    [Frame.Setting.initialWindowSize, Math.min(maxResponseSize + 1 + maxPaddingBytes, Frame.maxWindow)],
    [Frame.Setting.maxHeaderListSize, maxHeaderListSize]
  ])
  Frame.putWindowUpdate(out, 0, connectionWindow - Frame.initialWindow)
}
