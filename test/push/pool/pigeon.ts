/**
 * A push service that nobody has: Pigeon, which answers in words of plain text.
 * It shows what a provider has to say, and that the pool needs no more.
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createSecureServer, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2"
import type { AddressInfo } from "node:net"
import { Connection } from "../../../src/http2/index.ts"
import type { Authorizer, Provider } from "../../../src/push/pool/index.ts"
import { certificates } from "../../support/http2Servers.ts"

/** What Pigeon says no with. */
export interface No extends Provider.Refusal {
  readonly reason: string
}

/** Everything that can go wrong with a pigeon. */
export class PigeonError extends Data.TaggedError("PigeonError")<{ readonly what: string; readonly detail: string }> {
  override get message() {
    return `pigeon ${this.what}: ${this.detail}`
  }
}

const error = (what: string) => (detail: string) => new PigeonError({ what, detail })

const policies: Record<string, Partial<Provider.AnswerPolicy>> = {
  "wrong loft": { fault: "Scope" },
  "who are you": { fault: "All" },
  "old ring": { renew: "Authorization", retire: true },
  "another roof": { renew: "Connection", retire: true },
  "storm": { isServerError: true }
}

/** Pigeon, as the pool sees it. */
export const provider: Provider.Provider<No, PigeonError> = {
  name: "Pigeon",
  judge: ({ body, status }) => {
    if (status === 204) return { policy: nothing, refusal: undefined }
    const reason = Buffer.from(body).toString()
    return { policy: { ...nothing, ...policies[reason] }, refusal: { status, reason } }
  },
  judgeEnd: ({ goaway }) => goaway?.debug === "the loft burnt down" ? error("homeless")(goaway.debug) : undefined,
  judgeDial: ({ message, reason }) => reason._tag === "TlsRejected" ? error("caught")(message) : undefined,
  failures: {
    refused: ({ reason }) => error("refused")(reason),
    paused: ({ reason }, delay) => error("paused")(`${reason}, for ${Duration.format(delay)}`),
    unanswered: ({ message }) => error("lost")(message),
    unprocessed: error("came back"),
    notSent: error("grounded"),
    timedOut: (after: Duration.Duration, detail) => error("asleep")(detail ?? String(after)),
    expired: (expiresAt) => error("late")(String(expiresAt)),
    unauthorized: () => error("refused")("old ring")
  },
  scopeOf: ({ path }) => path.split("/")[1]!,
  isRepeated: () => true
}

const nothing: Provider.AnswerPolicy = { renew: "Nothing", retire: false, fault: "None", isServerError: false }

/** Rings with a number, each another one. */
export const rings = (): Authorizer => {
  let generation = 0
  const next = Effect.sync(() => {
    generation++
    return { value: Redacted.make(`ring ${generation}`), generation, from: 0, until: Infinity }
  })
  return { current: next, expired: () => next }
}

/** A flight to a loft. */
export const flight = (loft: string, expiresAt?: number): Provider.Request => ({
  method: "POST",
  path: `/${loft}/roost`,
  shared: [["weather", "fair"]],
  headers: [],
  body: Buffer.from("coo"),
  expiresAt
})

/** What Pigeon does with a flight. */
export type Reply = (stream: ServerHttp2Stream, path: string, ring: string | undefined) => void

/** Says a word; says yes without one. */
export const say = (status: number, word = ""): Reply => (stream) => {
  stream.respond({ ":status": status })
  stream.end(word)
}

/** Pigeon's server, until the scope ends, and how to open a connection to it. */
export const serve = Effect.fnUntraced(function*(reply: Reply) {
  const { ca, server: { cert, key } } = yield* certificates
  const sessions = new Set<ServerHttp2Session>()
  const server = createSecureServer({ cert, key })
  server.on("session", (session) => sessions.add(session.on("error", () => {})))
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {})
    reply(stream, String(headers[":path"]), headers.authorization)
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.sync(() => {
        for (const session of sessions) session.destroy()
        server.close()
      })
  )
  const { port } = server.address() as AddressInfo
  const open = (trusted: string | undefined) =>
    Connection.make({ host: "localhost", port, tls: trusted === undefined ? {} : { ca: trusted } })
  return { open: open(ca), openUntrusted: open(undefined), sessions }
})
