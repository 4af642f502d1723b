/** Recognises a peer that answers in HTTP/1.1, as something between here and the server may. */
import { clip, safeLine } from "../internal/text.ts"
import { isPassing } from "./Http2Error.ts"

/** So much of its first line is looked at. */
const maxLineChars = 100

/** What speaks another protocol, and whether it says that this may pass by itself. */
export interface OtherProtocol {
  readonly detail: string
  readonly isPassing: boolean
}

/** Looks at the first bytes of a peer. */
export const otherProtocol = (bytes: Uint8Array): OtherProtocol | undefined => {
  const [line = ""] = Buffer.from(bytes.subarray(0, maxLineChars)).toString("latin1").split(/\r?\n/, 1)
  const answer = /^HTTP\/1\.\d ([1-9]\d\d)/.exec(line)
  return answer === null
    ? undefined
    : { detail: `it answered "${safeLine(clip(line, maxLineChars))}"`, isPassing: isPassing(Number(answer[1])) }
}
