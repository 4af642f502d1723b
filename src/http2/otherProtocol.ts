/** Recognises a peer that answers in HTTP/1.1, as something between here and the server may. */
import { clip, safeLine } from "../internal/text.ts"
import { isPassing } from "./Http2Error.ts"

/** So much of its first line is looked at. */
const maxLineChars = 100

/** What speaks another protocol, and whether it says that this may pass by itself. */
export interface OtherProtocol {
  readonly status: number
  readonly detail: string
  readonly isPassing: boolean
}

/** Looks at the first bytes of a peer. */
export const otherProtocol = (bytes: Uint8Array): OtherProtocol | undefined => {
  const [line = ""] = Buffer.from(bytes.subarray(0, maxLineChars)).toString("latin1").split(/\r?\n/, 1)
  const answer = /^HTTP\/1\.\d ([1-9]\d\d)(?!\d)/.exec(line)
  if (answer === null) return undefined
  const status = Number(answer[1])
  return { status, detail: `it answered "${safeLine(clip(line, maxLineChars))}"`, isPassing: isPassing(status) }
}

const version = "HTTP/1."

/** Is it the beginning of such an answer, the first line of which is still to come in part? No frame begins so. */
export const isBegun = (bytes: Uint8Array): boolean =>
  bytes.length < maxLineChars && !bytes.includes(10) &&
  version.startsWith(Buffer.from(bytes.subarray(0, version.length)).toString("latin1"))
