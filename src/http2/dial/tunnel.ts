/**
 * Opens a tunnel to a server through an HTTP proxy. RFC 9110, section 9.3.6.
 *
 * The reader bounds the proxy's answer, in bytes and in informational responses,
 * and takes time linear in the bytes, however the network cuts them. Messages
 * show the proxy's text escaped and clipped.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Net from "node:net"
import { clip, safeLine } from "../../internal/text.ts"
import * as Http2Error from "../Http2Error.ts"
import type { ProxyOptions } from "../Options.ts"
import { otherProtocol } from "../otherProtocol.ts"

/** An answer to CONNECT may have at most this many bytes, with the informational responses before it. */
const maxAnswerBytes = 16384

/** At most this many informational responses may precede the final one. */
const maxInformational = 16

/** Messages show at most this much of the proxy's reason phrase. */
const maxPhraseChars = 100

const lineFeed = 10
const carriageReturn = 13

/** The proxy's final answer with the bytes after it, or why the answer can't be read. */
export type ProxyAnswer =
  | { readonly _tag: "Answered"; readonly status: number; readonly phrase: string; readonly rest: Buffer }
  | { readonly _tag: "Unreadable"; readonly detail: string }

const unreadable = (detail: string): ProxyAnswer => ({ _tag: "Unreadable", detail })

/** Reads the answer to CONNECT, chunk by chunk. */
export class ProxyAnswerReader {
  private readonly bytes = Buffer.allocUnsafe(maxAnswerBytes)
  private size = 0
  /** The next byte to read, and the starts of its line and of its response. */
  private at = 0
  private line = 0
  private head = 0
  private status = 0
  private phrase = ""
  private informational = 0

  /** Takes the next bytes. Returns the answer once it is complete. */
  feed(chunk: Buffer): ProxyAnswer | undefined {
    const { bytes } = this
    const taken = chunk.copy(bytes, this.size)
    this.size += taken
    while (this.at < this.size) {
      if (bytes[this.at++] !== lineFeed) continue
      const start = this.line
      this.line = this.at
      if (start === this.head) {
        if (!this.readStatus(bytes.toString("latin1", start, this.at))) {
          return unreadable("its answer is not HTTP; check that an HTTP proxy runs at this host and port")
        }
      } else if (this.isBlank(start)) {
        this.head = this.at
        if (this.status >= 200) {
          const rest = Buffer.concat([bytes.subarray(this.at, this.size), chunk.subarray(taken)])
          return { _tag: "Answered", status: this.status, phrase: this.phrase, rest }
        }
        if (++this.informational > maxInformational) {
          return unreadable(`it sent more than ${maxInformational} informational responses and no final one`)
        }
      }
    }
    return this.size === maxAnswerBytes ? unreadable(`its answer has more than ${maxAnswerBytes} bytes`) : undefined
  }

  /** Whether the line is empty. It may end without CR: RFC 9112, section 2.2. */
  private isBlank(start: number): boolean {
    const length = this.at - 1 - start
    return length === 0 || (length === 1 && this.bytes[start] === carriageReturn)
  }

  private readStatus(line: string): boolean {
    const read = /^HTTP\/1\.\d ([1-9]\d\d)(?![^ \r\n]) ?([^\r\n]*)/.exec(line)
    if (read === null) return false
    this.status = Number(read[1])
    this.phrase = read[2]!
    return true
  }
}

const credentials = ({ password, username }: ProxyOptions): string => {
  if (username === undefined) return ""
  const pair = Buffer.from(`${username}:${password === undefined ? "" : Redacted.value(password)}`)
  return `Proxy-Authorization: Basic ${pair.toString("base64")}\r\n`
}

/** Explains an HTTP status other than success. */
export const statusDetail = (status: number, phrase: string): string => {
  if (status === 407) return "it requires a user name and a password (407); set proxy.username and proxy.password"
  const said = `${status} ${safeLine(clip(phrase, maxPhraseChars))}`.trim()
  return Http2Error.isTransient(status)
    ? `it answered ${said}; if this lasts, check the proxy and its network`
    : `it answered ${said}; check that the proxy allows this server`
}

/** Sends CONNECT for `target` (`host:port`) and reads the answer. `proxy` and `server` are names for messages. */
export const tunnel = (
  socket: Net.Socket,
  options: ProxyOptions,
  { proxy, server, target }: { readonly proxy: string; readonly server: string; readonly target: string }
): Effect.Effect<void, Http2Error.Http2Error> =>
  Effect.callback((resume) => {
    const reader = new ProxyAnswerReader()
    const refused = (status: number, detail: string) =>
      end(Effect.fail(Http2Error.make(new Http2Error.ProxyRefused({ proxy, server, status, detail }))))
    const received = (chunk: Buffer) => {
      const answer = reader.feed(chunk)
      if (answer === undefined) return
      if (answer._tag === "Unreadable") return refused(0, answer.detail)
      if (answer.status > 299) return refused(answer.status, statusDetail(answer.status, answer.phrase))
      // A TLS server waits for the client's first bytes, so these are the proxy's.
      const other = otherProtocol(answer.rest)
      if (other !== undefined) return refused(other.status, `it answered ${answer.status}, and then ${other.detail}`)
      end(Effect.void)
      if (answer.rest.length > 0) socket.unshift(answer.rest)
    }
    const closed = () => refused(0, "it closed the connection without an answer")
    const end = (effect: Effect.Effect<void, Http2Error.Http2Error>) => {
      socket.off("data", received).off("close", closed)
      socket.pause()
      resume(effect)
    }
    socket.on("data", received).once("close", closed)
    socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${credentials(options)}\r\n`)
    return Effect.sync(() => end(Effect.void))
  })
