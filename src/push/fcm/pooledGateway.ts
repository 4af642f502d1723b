/**
 * The {@link Gateway} to Google: a credential, and a pool of connections for each of its
 * two hosts. A token that Google has called dead or malformed is not sent to it again
 * for an hour, since such requests count against the quota.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { Connection } from "../../http2/index.ts"
import { parseJson } from "../../internal/json.ts"
import { onReplaced } from "../credential/index.ts"
import { BadTokens, InFlight, Pool, type Servers } from "../pool/index.ts"
import type { Classification } from "./answer/ErrorCode.ts"
import * as FcmError from "./answer/FcmError.ts"
import { type ConnectionOptions, limitsOf, serversOf, streamsOf, wrongOption } from "./connectionOptions.ts"
import * as Credential from "./credential/Credential.ts"
import * as CredentialError from "./credential/CredentialError.ts"
import type { Gateway, Receipt, TopicChange, TopicResult } from "./Gateway.ts"
import * as Encoder from "./message/Encoder.ts"
import { fieldOf, type Target } from "./message/Target.ts"
import { makeProvider } from "./provider.ts"
import * as Subscriptions from "./subscriptions.ts"

type FcmPool = Pool.Pool<Classification, FcmError.FcmError>

/** The headers of every push: detailed errors need the version of their format. */
const headers = [
  ["content-type", "application/json"],
  ["x-goog-api-format-version", "2"]
] as const

const topicHeaders = [["content-type", "application/json"], ["access_token_auth", "true"]] as const

const text = new TextDecoder()

const nameIn = (body: Uint8Array): string | undefined => {
  const answer = parseJson(text.decode(body))
  const name = typeof answer === "object" && answer !== null && "name" in answer ? answer.name : undefined
  return typeof name === "string" ? name : undefined
}

/** A receipt that reads Google's answer when its name is asked for. */
class LazyReceipt implements Receipt {
  readonly attempts: number
  readonly duration: number
  readonly #body: Uint8Array

  constructor({ attempts, duration, response }: Pool.Answered<Classification>) {
    this.attempts = attempts
    this.duration = duration
    this.#body = response.body
  }

  get name(): string | undefined {
    return nameIn(this.#body)
  }
}

/** The token or installation id of a target. */
const tokenOf = (target: Target): string | undefined =>
  target._tag === "Token" || target._tag === "Fid" ? fieldOf(target).value : undefined

const endOf = (
  reply: Pool.Reply<Classification, FcmError.FcmError>,
  token: string | undefined
): Result.Result<Receipt, FcmError.FcmError> => {
  if (Result.isFailure(reply)) return Result.fail(reply.failure)
  const { refusal } = reply.success
  return refusal === undefined
    ? Result.succeed(new LazyReceipt(reply.success))
    : Result.fail(FcmError.fromClassification(refusal, { token }))
}

/** The failures of tokens that Google has refused for good, by token. */
class RefusedTokens {
  private readonly bad = { Unregistered: new BadTokens(), WrongTarget: new BadTokens() }

  failureOf(token: string, now: () => number): FcmError.FcmError | undefined {
    if (this.bad.Unregistered.has(token, now)) {
      return FcmError.make(new FcmError.DeadToken({ status: 404, errorCode: "UNREGISTERED", token }))
    }
    return this.bad.WrongTarget.has(token, now)
      ? FcmError.make(
        new FcmError.WrongToken({ status: 400, errorCode: "INVALID_ARGUMENT", token, kind: "Malformed" })
      )
      : undefined
  }

  /** Keeps registration tokens only: an installation may register its id again. */
  add(target: Target, kind: Classification["kind"], now: number): void {
    if (target._tag !== "Token") return
    if (kind === "Unregistered" || kind === "WrongTarget") this.bad[kind].add(target.token, now)
  }
}

const changeTopic = (
  pool: FcmPool,
  { kind, tokens, topic }: TopicChange
): Effect.Effect<ReadonlyArray<TopicResult>, FcmError.FcmError> =>
  Effect.flatMap(
    pool.exchange({
      method: "POST",
      path: kind === "Subscribe" ? "/iid/v1:batchAdd" : "/iid/v1:batchRemove",
      shared: topicHeaders,
      headers: [],
      body: Buffer.from(JSON.stringify({ to: `/topics/${topic}`, registration_tokens: tokens })),
      expiresAt: undefined
    }),
    ({ refusal, response }) =>
      refusal === undefined
        ? Effect.fromResult(Subscriptions.resultsOf(tokens, text.decode(response.body)))
        : Effect.fail(FcmError.fromClassification(refusal))
  )

/** Makes the gateway of one credential. Its first push opens its first connection. */
export const make = Effect.fnUntraced(function*(
  options: Credential.Options,
  connection: ConnectionOptions
): Effect.fn.Return<Gateway, CredentialError.CredentialError, Scope.Scope> {
  const wrong = wrongOption(connection)
  if (wrong !== undefined) return yield* CredentialError.make(wrong)
  const { ca, connectTimeout, pingTimeout = "20 seconds", proxy, requestTimeout = "15 seconds" } = connection
  const watched = yield* Credential.watch(options, { ca, proxy, connectTimeout })
  const { authorizer, project } = yield* SubscriptionRef.get(watched)

  const open = Effect.fnUntraced(function*(
    { host, port }: Servers.Authority,
    field: "name" | "results"
  ): Effect.fn.Return<FcmPool, never, Scope.Scope> {
    const open = Connection.make({
      host,
      port,
      tls: { ...(ca === undefined ? undefined : { ca }) },
      proxy,
      connectTimeout,
      requestTimeout,
      pingTimeout,
      idlePing: Duration.infinity,
      maxStreams: streamsOf(connection)
    })
    const pool: FcmPool = yield* Pool.make(makeProvider(field), { ...limitsOf(connection), authorizer, open })
    yield* onReplaced(watched, ({ authorizer }) => pool.replace({ authorizer, open }))
    return pool
  })
  const servers = serversOf(connection)
  const pushes = yield* open(servers.push, "name")
  const topics = yield* open(servers.topics, "results")
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const refused = new RefusedTokens()
  const path = `/v1/projects/${encodeURIComponent(project)}/messages:send`

  return {
    project,
    inFlight: limitsOf(connection).maxConnections * streamsOf(connection),
    submit: ({ encoded, expiresAt, isDryRun, target }, settle) => {
      const token = tokenOf(target)
      const failure = target._tag === "Token" ? refused.failureOf(target.token, now) : undefined
      if (failure !== undefined) return InFlight.settleLater(() => settle(Result.fail(failure)))
      return pushes.submit({
        method: "POST",
        path,
        shared: headers,
        headers: [],
        body: Encoder.bodyOf(encoded, target, isDryRun),
        expiresAt
      }, (reply) => {
        const kind = Result.isSuccess(reply) ? reply.success.refusal?.kind : undefined
        if (kind !== undefined) refused.add(target, kind, now())
        settle(endOf(reply, token))
      })
    },
    changeTopic: (change) => changeTopic(topics, change)
  }
})
