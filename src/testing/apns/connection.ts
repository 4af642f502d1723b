/**
 * One connection to the simulator: an HTTP/2 session of node:http2 on a TLS
 * socket. Reads requests to their end, answers them, and misbehaves as it is
 * told. Plain callbacks, since they run for every push.
 */
// @effect-diagnostics nodeBuiltinImport:off
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2"
import type { TLSSocket } from "node:tls"
import type { Provider } from "./checks.ts"
import { topicsOf } from "./clientCertificate.ts"
import type { Incoming } from "./incoming.ts"
import type { Shown } from "./providerTokens.ts"
import type { Goaway } from "./Script.ts"

/** What is done with a request. */
export type Reaction =
  | {
    readonly _tag: "Answer"
    readonly headers: OutgoingHttpHeaders
    readonly body: string
    /** In milliseconds. */
    readonly delay: number
    /** Ends the connection after the answer. */
    readonly cut: boolean
  }
  | { readonly _tag: "Cut" }
  | { readonly _tag: "Reset"; readonly code: number }
  | { readonly _tag: "Silence" }

/** A reaction to a request that was written down. */
export interface Reacted {
  readonly reaction: Reaction
  /** Writes down that it was not processed after all. */
  readonly disown: () => void
}

/** How a connection asks what to do. */
export interface Reactions {
  readonly react: (connection: Connection, request: Incoming) => Reacted
  /** Called after each reaction. */
  readonly reacted: (connection: Connection) => void
  /** Runs something after so many milliseconds. */
  readonly later: (millis: number, run: () => void) => void
}

/** REFUSED_STREAM. RFC 9113, section 7. */
const refusedStream = 7

/** More of a body than this is counted, but not kept. */
const kept = 16_384

/** One connection. It begins to read when {@link Connection.open} is called. */
export class Connection implements Provider {
  readonly number: number
  readonly certificate: Provider["certificate"]
  shown: Shown | undefined
  /** Has a push with a provider token been accepted? */
  proven = false
  /** How many pushes came on it. */
  pushes = 0
  /** How many were refused since the last one that was accepted, but for dead tokens. */
  refusals = 0
  /** How many of these were for bad device tokens. */
  badTokens = 0
  readonly #session: ServerHttp2Session
  readonly #socket: TLSSocket
  readonly #streams = new Map<number, ServerHttp2Stream>()
  readonly #disown = new Map<number, () => void>()
  #leaving = false
  /** The stream that came last, and the last one that a GOAWAY has promised to process. */
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
      // node:http2 goes on with what it has read when it sends a GOAWAY
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

  /** Announces how many streams the peer may have open. */
  setMaxStreams(count: number): void {
    if (!this.#session.destroyed) this.#session.settings({ maxConcurrentStreams: count })
  }

  /** Says that there will be no more streams, and closes when the last one is answered. */
  goaway({ code = 0, reason, unprocessed = 0 }: Goaway, now: number): void {
    if (this.#leaving || this.#session.destroyed) return
    this.#leaving = true
    const disowned = this.#newestUnanswered(unprocessed)
    // 0 stands for the newest stream, so that the first can't be disowned
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

  /** The oldest of the newest streams, at most so many, of which none has been answered. */
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
      if (size < kept) chunks.push(chunk)
      size += chunk.length
    })
    stream.once("end", () => {
      // a GOAWAY has disowned it after its last byte came
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
        // the answer to a PING says that the peer has read what came before it
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
