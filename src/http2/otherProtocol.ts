/** Recognises a peer that answers in HTTP/1.1, for instance a proxy or load balancer before the server. */
import { clip, safeLine } from "../internal/text.ts"
import { isTransient } from "./Http2Error.ts"

/** At most this much of the first line is read. */
const maxLineChars = 100

/** An answer in HTTP/1.1. */
export interface OtherProtocol {
  readonly status: number
  readonly detail: string
  readonly isTransient: boolean
}

/** Reads the first bytes of a peer. Returns `undefined` if they are not HTTP/1.1. */
export const otherProtocol = (bytes: Uint8Array): OtherProtocol | undefined => {
  const [line = ""] = Buffer.from(bytes.subarray(0, maxLineChars)).toString("latin1").split(/\r?\n/, 1)
  const answer = /^HTTP\/1\.\d ([1-9]\d\d)(?!\d)/.exec(line)
  if (answer === null) return undefined
  const status = Number(answer[1])
  return { status, detail: `it answered "${safeLine(clip(line, maxLineChars))}"`, isTransient: isTransient(status) }
}

const version = "HTTP/1."

/** Whether the bytes are the start of such an answer, with an incomplete first line. No HTTP/2 frame starts so. */
export const isBegun = (bytes: Uint8Array): boolean =>
  bytes.length < maxLineChars && !bytes.includes(10) &&
  version.startsWith(Buffer.from(bytes.subarray(0, version.length)).toString("latin1"))
