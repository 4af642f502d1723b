/** Connections, provider tokens and requests under a test's hand. */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Connection from "../../../src/http2/Connection.ts"
import * as Http2Error from "../../../src/http2/Http2Error.ts"
import type { Reply } from "../../../src/push/apns/answer/receipt.ts"
import { authorizerOf } from "../../../src/push/apns/credential/authorizer.ts"
import type * as ProviderToken from "../../../src/push/apns/credential/ProviderToken.ts"
import type { Request } from "../../../src/push/pool/Provider.ts"

/** A request that has left and has no answer yet. */
interface Sent {
  readonly path: string
  readonly authorization: string | undefined
  readonly settle: (answer: Connection.Answer) => void
}

/** A connection on which answers come when the test says so. */
export class FakeConnection {
  sent: Array<Sent> = []
  /** Every path that was ever sent here. */
  readonly paths: Array<string> = []
  limit = 1000
  /** How many of the submitted requests really wait for a stream. */
  queued = 0
  /** Whether it answers a PING. */
  answersPing = true
  pings = 0
  /** Whether the pool has stopped sending on it. */
  isRetired = false
  private isOpen = true
  private goaway: Connection.Goaway | undefined
  private listener = () => {}
  private readonly closed = Deferred.makeUnsafe<Connection.Ending>()

  readonly connection: Connection.Connection = {
    server: "https://fake:443",
    request: () => Effect.never,
    requestAll: () => Effect.never,
    submit: ({ path, shared }, settle) => {
      const sent = { path, settle, authorization: shared?.find(({ name }) => name === "authorization")?.value }
      this.sent.push(sent)
      this.paths.push(path)
      return { isSettled: false, ...sent }
    },
    cancel: (submitted) => {
      this.sent = this.sent.filter(({ settle }) => settle !== (submitted as unknown as Sent).settle)
    },
    room: () => this.isOpen ? Math.max(0, this.limit - this.sent.length) : 0,
    pending: () => this.sent.length,
    queued: () => this.queued,
    onRoom: (listener) => {
      this.listener = listener
    },
    isOpen: () => this.isOpen,
    retire: Effect.suspend(() => {
      this.isOpen = false
      this.isRetired = true
      this.endIfDone()
      return Effect.asVoid(Deferred.await(this.closed))
    }),
    goaway: () => this.goaway,
    closed: Deferred.await(this.closed),
    ping: Effect.suspend(() => {
      this.pings++
      return this.answersPing ? Effect.succeed(Duration.millis(40)) : Effect.never
    })
  }

  /** Answers the request that was sent first. */
  answer(status: number, reason?: string): void {
    const body = Buffer.from(reason === undefined ? "" : JSON.stringify({ reason }))
    this.sent.shift()!.settle(Result.succeed({ status, headers: [], body }))
    this.endIfDone()
    this.listener()
  }

  /** Ends the request that was sent first without an answer. */
  timeOut(isPartial = false): void {
    const timeout = new Http2Error.Timeout({ server: "fake", millis: 30_000, sent: true, isPartial })
    this.sent.shift()!.settle(Result.fail(Http2Error.make(timeout)))
    this.listener()
  }

  /** Ends the request that was sent first: the server refuses its stream, or its answer can't be read. */
  fail(reason: "Refused" | "Unknown"): void {
    const failure = { server: "fake", code: 7, detail: "it reset the stream" }
    const error = reason === "Refused" ? new Http2Error.Refused(failure) : new Http2Error.Unknown(failure)
    this.sent.shift()!.settle(Result.fail(Http2Error.make(error)))
    this.listener()
  }

  /** The server sends a GOAWAY with a reason, before it answers the sent requests. */
  say(goaway: Partial<Connection.Goaway>): void {
    this.isOpen = false
    this.goaway = { lastStreamId: 2 ** 31 - 1, code: 0, debug: "", ...goaway }
    this.listener()
    this.endIfDone()
  }

  /** The socket ends. Sent requests get no answer. */
  cut(ending: Partial<Connection.Ending>): void {
    this.isOpen = false
    for (const { settle } of this.sent.splice(0)) {
      settle(Result.fail(Http2Error.make(new Http2Error.Unknown({ server: "fake", detail: "cut" }))))
    }
    Deferred.doneUnsafe(this.closed, Effect.succeed({ detail: "cut", goaway: this.goaway, ...ending }))
  }

  /** The server sends a GOAWAY. Sent requests are refused. */
  leave(debug = ""): void {
    this.isOpen = false
    this.goaway = { lastStreamId: 0, code: 0, debug }
    for (const { settle } of this.sent.splice(0)) {
      settle(Result.fail(Http2Error.make(new Http2Error.Refused({ server: "fake", code: 0, detail: "GOAWAY" }))))
    }
    this.listener()
    this.endIfDone()
  }

  private endIfDone(): void {
    if (this.isOpen || this.sent.length > 0) return
    Deferred.doneUnsafe(this.closed, Effect.succeed({ detail: "closed", goaway: this.goaway }))
  }
}

/** A key whose token is this text. It makes another one when it is called expired, if it `renews`. */
export const fakeToken = (
  jwt: string,
  options: { readonly renews?: boolean; readonly after?: Duration.Input } = {}
) => {
  const token = (generation: number): ProviderToken.Token => ({
    jwt: Redacted.make(generation === 1 ? jwt : `${jwt}-${generation}`),
    iat: 0,
    generation,
    until: Infinity
  })
  const made: ProviderToken.ProviderToken = {
    current: Effect.delay(Effect.sync(() => token(1)), options.after ?? 0),
    expired: (generation) => Effect.sync(() => token(options.renews === true ? generation + 1 : generation))
  }
  return authorizerOf(made)!
}

const shared: Request["shared"] = [["apns-topic", "com.example.app"]]

/** The n-th push. */
export const push = (n: number, topic?: string): Request => ({
  method: "POST",
  path: `/3/device/${n}`,
  shared: topic === undefined ? shared : [["apns-topic", topic]],
  headers: [],
  body: new Uint8Array(2),
  expiresAt: undefined
})

/** How a request ended, in a word. */
export const word = (outcome: Reply | undefined): string => {
  if (outcome === undefined) return "pending"
  return Result.isSuccess(outcome) ? String(outcome.success.response.status) : outcome.failure.reason._tag
}
