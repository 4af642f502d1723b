/**
 * One connection to the simulator: an HTTP/2 session of node:http2 on a TLS
 * socket. It reads requests to their end, answers them, and misbehaves as its
 * reactions say. It uses plain callbacks, since they run for every push.
 */
// @effect-diagnostics nodeBuiltinImport:off
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2"
import type { TLSSocket } from "node:tls"

/** A complete request. */
export interface Incoming {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Names and values in turn, unchanged. */
  readonly rawHeaders: ReadonlyArray<string>
  /** The body as text, or only its first part if it is over every limit. */
  readonly body: string
  /** The same as bytes. */
  readonly bytes: Buffer
  /** The size of the whole body in bytes. */
  readonly size: number
}

/** A GOAWAY frame. RFC 9113, section 6.8. */
export interface Goaway {
  /** The HTTP/2 error code. Default: 0 (NO_ERROR). */
  readonly code?: number | undefined
  /** The debug data. Default: none. */
  readonly debug?: string | undefined
  /** At most this many of the newest open streams are reported as not processed. Default: 0. */
  readonly unprocessed?: number | undefined
}

/** What the simulator does with a request. */
export type Reaction =
  | {
    readonly _tag: "Answer"
    readonly headers: OutgoingHttpHeaders
    readonly body: string
    /** In milliseconds. */
    readonly delay: number
    /** Whether to end the connection after the answer. */
    readonly cut: boolean
  }
  | { readonly _tag: "Cut" }
  | { readonly _tag: "Reset"; readonly code: number }
  | { readonly _tag: "Silence" }

/** An answer, at once or after `delay` milliseconds. */
export const answer = (
  headers: Readonly<Record<string, string>>,
  status: number,
  body: string,
  { cut = false, delay = 0 }: { readonly cut?: boolean | undefined; readonly delay?: number | undefined } = {}
): Reaction => ({ _tag: "Answer", headers: { ":status": String(status), ...headers }, body, delay, cut })

/** The status of an answer; `undefined` without one. */
export const statusOf = (reaction: Reaction): number | undefined =>
  reaction._tag === "Answer" ? Number(reaction.headers[":status"]) : undefined

/** A reaction to a recorded request. */
export interface Reacted {
  readonly reaction: Reaction
  /** Records that the request was not processed. */
  readonly disown: () => void
}

/** Decides what a connection does. */
export interface Reactions<in C> {
  readonly react: (connection: C, request: Incoming) => Reacted
  /** The connection calls it after each reaction. */
  readonly reacted: (connection: C) => void
  /** The peer has sent a PING, which the connection answers. */
  readonly pinged?: ((connection: C) => void) | undefined
  /** Runs a callback after this many milliseconds. */
  readonly later: (millis: number, run: () => void) => void
}

/** REFUSED_STREAM. RFC 9113, section 7. */
const refusedStream = 7

/** The rest of a longer body is counted and not kept. */
const maxKeptBytes = 262_144

/** One connection. It starts to read when {@link Connection.open} is called. A simulator adds its own state. */
export class Connection {
  readonly number: number
  readonly #session: ServerHttp2Session
  readonly #socket: TLSSocket
  readonly #streams = new Map<number, ServerHttp2Stream>()
  readonly #disown = new Map<number, () => void>()
  #leaving = false
  /** The newest stream, and the last one that a GOAWAY promised to process. */
  #newest = 0
  #last = Infinity

  constructor(number: number, session: ServerHttp2Session, socket: TLSSocket) {
    this.number = number
    this.#session = session
    this.#socket = socket
  }

  open({ later, pinged, react, reacted }: Reactions<this>): void {
    this.#session.on("error", () => {})
    if (pinged !== undefined) this.#session.on("ping", () => pinged(this))
    this.#session.on("stream", (stream, headers, _flags, rawHeaders) => {
      // node:http2 still handles streams that it read before its GOAWAY
      if (stream.id! > this.#last) {
        stream.on("error", () => {})
        return stream.close(refusedStream)
      }
      this.#newest = stream.id!
      this.#track(stream)
      this.#read(stream, headers, rawHeaders as unknown as ReadonlyArray<string>, (request) => {
        const { disown, reaction } = react(this, request)
        this.#disown.set(stream.id!, disown)
        if (reaction._tag === "Answer" && reaction.delay > 0) {
          later(reaction.delay, () => this.#perform(stream, reaction))
        } else {
          this.#perform(stream, reaction)
        }
        reacted(this)
      })
    })
  }

  /** Sets how many streams the peer may have open. */
  setMaxStreams(count: number): void {
    if (!this.#session.destroyed) this.#session.settings({ maxConcurrentStreams: count })
  }

  /** How many streams are open. */
  get streams(): number {
    return this.#streams.size
  }

  /** Sends a GOAWAY, and closes when the last stream is answered. */
  goaway({ code = 0, debug, unprocessed = 0 }: Goaway = {}): void {
    if (this.#leaving || this.#session.destroyed) return
    this.#leaving = true
    const disowned = this.#newestUnanswered(unprocessed)
    // node:http2 takes 0 for the newest stream, so the first can't be disowned
    const last = disowned === undefined ? this.#newest : Math.max(1, disowned - 2)
    this.#last = last
    this.#session.goaway(code, last, debug === undefined ? undefined : Buffer.from(debug))
    if (disowned !== undefined) {
      for (const [id, stream] of this.#streams) {
        if (id <= last) continue
        this.#disown.get(id)?.()
        stream.destroy()
      }
    }
    this.#closeWhenDone()
  }

  /** The first of the newest streams, at most `count`, that are all unanswered. */
  #newestUnanswered(count: number): number | undefined {
    const streams = Array.from(this.#streams)
    const answered = streams.findLastIndex(([, stream]) => stream.headersSent)
    return streams[Math.max(answered + 1, streams.length - count)]?.[0]
  }

  /** Ends at once. */
  cut(): void {
    this.#socket.destroy()
  }

  #closeWhenDone(): void {
    if (this.#leaving && this.#streams.size === 0) this.#session.close()
  }

  #track(stream: ServerHttp2Stream): void {
    const id = stream.id!
    this.#streams.set(id, stream)
    stream.on("error", () => {})
    stream.once("close", () => {
      this.#streams.delete(id)
      this.#disown.delete(id)
      this.#closeWhenDone()
    })
  }

  #read(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    rawHeaders: ReadonlyArray<string>,
    done: (request: Incoming) => void
  ): void {
    const chunks: Array<Buffer> = []
    let size = 0
    stream.on("data", (chunk: Buffer) => {
      if (size < maxKeptBytes) chunks.push(chunk)
      size += chunk.length
    })
    stream.once("end", () => {
      // a GOAWAY disowned it after its last byte
      if (stream.destroyed) return
      const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
      const { ":method": method = "", ":path": path = "" } = headers
      const body = bytes.toString()
      done({ method, path, headers: headers as Incoming["headers"], rawHeaders, body, bytes, size })
    })
  }

  #perform(stream: ServerHttp2Stream, reaction: Reaction): void {
    if (stream.destroyed) return
    switch (reaction._tag) {
      case "Answer": {
        // the answer to a PING proves that the peer has read everything before it
        if (reaction.cut) stream.once("close", () => this.#session.ping(() => this.cut()))
        if (reaction.body === "") stream.respond(reaction.headers, { endStream: true })
        else {
          stream.respond(reaction.headers)
          stream.end(reaction.body)
        }
        return
      }
      case "Cut":
        return this.cut()
      case "Reset":
        return stream.close(reaction.code)
      case "Silence":
        return
    }
  }
}
