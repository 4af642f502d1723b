/**
 * One connection to the simulator: an HTTP/2 session of node:http2 on a TLS
 * socket. It reads requests to their end, answers them, and misbehaves as its
 * reactions say. It uses plain callbacks, since they run for every push.
 */
// @effect-diagnostics nodeBuiltinImport:off
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2"
import type { TLSSocket } from "node:tls"
import type { Provider } from "../apns/checks.ts"
import { topicsOf } from "../apns/clientCertificate.ts"
import type { Incoming } from "../apns/incoming.ts"
import type { Shown } from "../apns/providerTokens.ts"
import type { Goaway } from "../apns/Script.ts"

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

/** A reaction to a recorded request. */
export interface Reacted {
  readonly reaction: Reaction
  /** Records that the request was not processed. */
  readonly disown: () => void
}

/** Decides what a connection does. */
export interface Reactions {
  readonly react: (connection: Connection, request: Incoming) => Reacted
  /** The connection calls it after each reaction. */
  readonly reacted: (connection: Connection) => void
  /** Runs a callback after this many milliseconds. */
  readonly later: (millis: number, run: () => void) => void
}

/** REFUSED_STREAM. RFC 9113, section 7. */
const refusedStream = 7

/** The rest of a longer body is counted and not kept. */
const maxKeptBytes = 16_384

/** One connection. It starts to read when {@link Connection.open} is called. */
export class Connection implements Provider {
  readonly number: number
  readonly certificate: Provider["certificate"]
  shown: Shown | undefined
  /** Whether a push with a provider token was accepted. */
  proven = false
  /** How many pushes arrived. */
  pushes = 0
  /** How many pushes were refused since the last accepted one, without dead tokens. */
  refusals = 0
  /** How many of these had bad device tokens. */
  badTokens = 0
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
    const x509 = socket.getPeerX509Certificate()
    this.certificate = x509 === undefined
      ? undefined
      : { topics: topicsOf(x509), validUntil: x509.validToDate.getTime() }
  }

  open({ later, react, reacted }: Reactions): void {
    this.#session.on("error", () => {})
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

  /** Sends a GOAWAY, and closes when the last stream is answered. */
  goaway({ code = 0, reason, unprocessed = 0 }: Goaway, now: number): void {
    if (this.#leaving || this.#session.destroyed) return
    this.#leaving = true
    const disowned = this.#newestUnanswered(unprocessed)
    // node:http2 takes 0 for the newest stream, so the first can't be disowned
    const last = disowned === undefined ? this.#newest : Math.max(1, disowned - 2)
    this.#last = last
    const debug = reason === undefined ? undefined : Buffer.from(JSON.stringify({ reason, timestamp: now }))
    this.#session.goaway(code, last, debug)
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
      const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
      const { ":method": method = "", ":path": path = "" } = headers
      done({ method, path, headers: headers as Incoming["headers"], rawHeaders, body: body.toString(), size })
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
