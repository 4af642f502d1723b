/**
 * One request and the part of its response that has arrived. RFC 9113, section 8.
 *
 * `session.ts` decides when frames are sent and handled. An exchange knows how much
 * of its body is sent, and whether its response is well-formed.
 */
import { wholeNumber } from "../../internal/peerNumber.ts"
import { safeName } from "../../internal/text.ts"
import type { Field } from "../hpack/staticTable.ts"
import type { Answer, Request, Response, Submitted } from "../Message.ts"
import { maxHeaderListSize } from "./preface.ts"

const nothing: Uint8Array = new Uint8Array(0)

/** Header fields that HTTP/2 forbids. RFC 9113, section 8.2.2. */
const forbidden = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"])

/** Characters that a field name and a field value can't have. RFC 9113, section 8.2.1. */
const notInName = /[^!-9;-@[-~]/
// oxlint-disable-next-line no-control-regex
const notInValue = /[\0\r\n]/

const isBlank = (code: number): boolean => code === 32 || code === 9

/** Whether a field is malformed or forbidden. Pseudo-headers are malformed here. */
const isMalformed = (name: string, value: string): boolean =>
  name === "" || forbidden.has(name) || notInName.test(name) || notInValue.test(value) ||
  isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(value.length - 1))

/** At most this many informational responses may precede the final one; together they may be as large as its headers. */
const maxInformational = 16

/** Quotes text of the peer for a message. */
const quoted = (text: string): string => `"${safeName(text)}"`

const isStatus = (value: string): boolean => /^[1-9]\d\d$/.test(value)

/** A request and its response. */
export class Exchange implements Submitted {
  isSettled = false
  /** The stream's id; 0 while the request waits for a stream. */
  id = 0
  /** How many bytes of the body are sent. */
  sent = 0
  /** The peer's flow-control window for the stream, in bytes. */
  window = 0
  /** Whether the rest of the body waits for the peer's window. */
  isBlocked = false

  readonly request: Request
  readonly body: Uint8Array
  readonly settle: (answer: Answer) => void
  /** The timeout, and when it ends, in milliseconds. */
  readonly timeout: number
  readonly deadline: number

  private status = 0
  private informational = 0
  private informationalSize = 0
  private fields: Array<Field> = []
  /** The response's body so far, in its first `received` bytes. */
  private content = nothing
  received = 0
  /** The response's content-length, or -1 without one. */
  private expected = -1
  /** How much padding used up the stream's window and has no WINDOW_UPDATE yet, in bytes. */
  padding = 0

  constructor(request: Request, settle: (answer: Answer) => void, timeout: number, deadline: number) {
    this.request = request
    this.body = request.body ?? nothing
    this.settle = settle
    this.timeout = timeout
    this.deadline = deadline
  }

  /** Whether the final response's headers have arrived. */
  get isAnswered(): boolean {
    return this.status !== 0
  }

  /**
   * Takes a header block (informational, final or trailers) of `size` bytes. Returns the fault if it is malformed.
   */
  headers(fields: Array<Field>, isLast: boolean, size: number): string | undefined {
    if (this.status !== 0) {
      if (!isLast) return "headers in the middle of its response"
      const wrong = fields.find(([name, value]) => isMalformed(name, value))
      return wrong === undefined ? undefined : `an invalid trailer ${quoted(wrong[0])}`
    }
    const first = fields[0]
    if (first === undefined || first[0] !== ":status") return "a response that does not start with its status"
    if (!isStatus(first[1])) return `the invalid status ${quoted(first[1])}`
    for (let i = 1; i < fields.length; i++) {
      const wrong = this.field(fields[i]![0], fields[i]![1])
      if (wrong !== undefined) return wrong
    }
    const status = Number(first[1])
    if (status < 200) {
      this.expected = -1
      this.informationalSize += size
      if (++this.informational > maxInformational || this.informationalSize > maxHeaderListSize) {
        return `more than ${maxInformational} informational responses, or ${maxHeaderListSize} bytes of them`
      }
      return isLast || status === 101 ? `a response that ends with the status ${status}` : undefined
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
        return `the invalid content-length ${quoted(value)}`
      }
      this.expected = length
      return undefined
    }
    return isMalformed(name, value) ? `an invalid header ${quoted(name)}` : undefined
  }

  /** Takes a part of the body. Many small parts take at most twice their size in memory. */
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

  /** Whether the response can have a body. RFC 9110, section 6.4.1. */
  get hasBody(): boolean {
    return this.status !== 204 && this.status !== 304 && this.request.method !== "HEAD"
  }

  /** Whether the body has the length that content-length says. A response without a body may have any content-length. */
  get isWhole(): boolean {
    return this.expected === -1 || this.expected === this.received || !this.hasBody
  }

  /** The response, once it is complete. */
  response(): Response {
    return {
      status: this.status,
      headers: this.fields,
      body: this.content.length === this.received ? this.content : this.content.slice(0, this.received)
    }
  }
}
