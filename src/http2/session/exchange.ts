/**
 * One request and what has come of its answer. RFC 9113, section 8.
 *
 * `Session.ts` decides when frames are sent and taken; here is what a request
 * knows by itself: how far its body is sent, and whether the answer is well
 * formed.
 */
import { wholeNumber } from "../../internal/peerNumber.ts"
import { safeName } from "../../internal/text.ts"
import { maxHeaderListSize } from "../dial/preface.ts"
import type { Field } from "../hpack/staticTable.ts"
import type { Answer, Request, Response, Submitted } from "../Message.ts"

const nothing: Uint8Array = new Uint8Array(0)

/** Header fields that HTTP/2 has no place for. RFC 9113, section 8.2.2. */
const forbidden = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"])

/** What no name of a field has, and what no value has. RFC 9113, section 8.2.1. */
const notInName = /[^!-9;-@[-~]/
// oxlint-disable-next-line no-control-regex
const notInValue = /[\0\r\n]/

const isBlank = (code: number): boolean => code === 32 || code === 9

/** Is it no field, or one that has no place here? Pseudo-headers are none. */
const isMalformed = (name: string, value: string): boolean =>
  name === "" || forbidden.has(name) || notInName.test(name) || notInValue.test(value) ||
  isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(value.length - 1))

/** So many informational answers may come before the one that counts; together they may be as large as that one's headers. */
const maxInformational = 16

/** What the peer wrote, as it is quoted in a message. */
const quoted = (text: string): string => `"${safeName(text)}"`

const isStatus = (value: string): boolean => /^[1-9]\d\d$/.test(value)

/** A request under way. */
export class Exchange implements Submitted {
  isSettled = false
  /** 0 while it waits for a stream. */
  id = 0
  /** How much of the body is sent. */
  sent = 0
  /** How much of the body the peer takes. */
  window = 0
  /** Is it in the list of those whose body waits for the peer? */
  isBlocked = false

  readonly request: Request
  readonly body: Uint8Array
  readonly settle: (answer: Answer) => void
  /** In milliseconds: how long it may take, and when that is over. */
  readonly timeout: number
  readonly deadline: number

  private status = 0
  private informational = 0
  private informationalSize = 0
  private fields: Array<Field> = []
  /** The body that has come, in its first `received` bytes. */
  private content = nothing
  /** How much of the answer's body has come, and how much was announced. */
  received = 0
  private expected = -1
  /** How much of its window was padding and is to be given back. */
  padding = 0

  constructor(request: Request, settle: (answer: Answer) => void, timeout: number, deadline: number) {
    this.request = request
    this.body = request.body ?? nothing
    this.settle = settle
    this.timeout = timeout
    this.deadline = deadline
  }

  /** Has the answer begun? */
  get isAnswered(): boolean {
    return this.status !== 0
  }

  /**
   * Takes a block of headers, informational, final or trailers, and its size in bytes. Returns what is wrong with it,
   * if anything.
   */
  headers(fields: Array<Field>, isLast: boolean, size: number): string | undefined {
    if (this.status !== 0) {
      if (!isLast) return "headers amid its answer"
      const wrong = fields.find(([name, value]) => isMalformed(name, value))
      return wrong === undefined ? undefined : `the trailer ${quoted(wrong[0])}, or its value`
    }
    const first = fields[0]
    if (first === undefined || first[0] !== ":status") return "an answer that does not begin with a status"
    if (!isStatus(first[1])) return `the status ${quoted(first[1])}`
    for (let i = 1; i < fields.length; i++) {
      const wrong = this.field(fields[i]![0], fields[i]![1])
      if (wrong !== undefined) return wrong
    }
    const status = Number(first[1])
    if (status < 200) {
      this.expected = -1
      this.informationalSize += size
      if (++this.informational > maxInformational || this.informationalSize > maxHeaderListSize) {
        return `more than ${maxInformational} informational answers, or ${maxHeaderListSize} bytes of them`
      }
      return isLast || status === 101 ? `an answer that ends with the status ${status}` : undefined
    }
    this.status = status
    fields.shift()
    this.fields = fields
    return undefined
  }

  private field(name: string, value: string): string | undefined {
    const code = name.charCodeAt(0)
    if (code === 58) return `the pseudo-header ${quoted(name)} after the status`
    if (name === "content-length") {
      const length = wholeNumber(value)
      if (length === undefined || (this.expected !== -1 && this.expected !== length)) {
        return `the content-length ${quoted(value)}`
      }
      this.expected = length
      return undefined
    }
    return isMalformed(name, value) ? `the header ${quoted(name)}, or its value` : undefined
  }

  /** Takes a part of the body. In small pieces it takes no more than twice its size. */
  data(bytes: Buffer, start: number, end: number): void {
    const part = bytes.subarray(start, end)
    const { content, received } = this
    this.received += part.length
    if (received === 0) {
      this.content = new Uint8Array(part)
      return
    }
    if (this.received > content.length) {
      this.content = new Uint8Array(Math.max(this.received, content.length * 2))
      this.content.set(content.subarray(0, received))
    }
    this.content.set(part, received)
  }

  /** Can its answer have a body? RFC 9110, section 6.4.1. */
  get hasBody(): boolean {
    return this.status !== 204 && this.status !== 304 && this.request.method !== "HEAD"
  }

  /** Is the body that has come the one that was announced? An answer that has none may announce one. */
  get isWhole(): boolean {
    return this.expected === -1 || this.expected === this.received || !this.hasBody
  }

  /** The answer, once it has ended. */
  response(): Response {
    return {
      status: this.status,
      headers: this.fields,
      body: this.content.length === this.received ? this.content : this.content.slice(0, this.received)
    }
  }
}
