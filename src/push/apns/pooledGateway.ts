/**
 * The {@link Sender} that talks to Apple: a credential, the hosts, and the
 * connections between them.
 *
 * When the files of the credential change, new connections are opened with the
 * new one, and those with the old are closed when their pushes are answered. A
 * device token that APNs has called bad is not pushed to again: see `badTokens`.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Connection from "../../http2/Connection.ts"
import { retryAfter } from "../../internal/peerNumber.ts"
import * as Pool from "../pool/Pool.ts"
import * as ApnsError from "./answer/ApnsError.ts"
import * as Reason from "./answer/Reason.ts"
import { BadTokens } from "./badTokens.ts"
import * as Credential from "./credential/Credential.ts"
import * as CredentialError from "./credential/CredentialError.ts"
import type * as Endpoint from "./Endpoint.ts"
import type { Receipt, Sender } from "./Gateway.ts"
import type * as Channel from "./notification/Channel.ts"
import * as DeviceToken from "./notification/DeviceToken.ts"
import * as OptionRules from "./options.ts"

/** How many connections there are, and how long is waited. */
export interface Options {
  /** The most connections to one host. Default: 4. */
  readonly maxConnections?: number | undefined
  /** How long opening a connection may take: name, TCP, proxy, TLS and first SETTINGS together. Default: 10 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long an answer may take. Default: 30 seconds. */
  readonly requestTimeout?: Duration.Input | undefined
  /** How long a push may wait for a connection before it fails with `NotSent` or `Timeout`. Default: 30 seconds. */
  readonly queueTimeout?: Duration.Input | undefined
  /** After how long without a push a connection that others can do the work of is closed. Default: 10 minutes. */
  readonly idleTimeout?: Duration.Input | undefined
  /** A PING is sent after so long without a word from Apple. Default: 1 minute. */
  readonly idlePing?: Duration.Input | undefined
  /** How long a PING may go unanswered before the connection is given up. Default: 10 seconds. */
  readonly pingTimeout?: Duration.Input | undefined
  /** How long answers are waited for when the layer closes. Default: 10 seconds. */
  readonly drainTimeout?: Duration.Input | undefined
}

type Rule = readonly [option: string, isKept: boolean, rule: string]

const whole = (option: string, value: number, max: number): Rule => [
  option,
  Number.isInteger(value) && value >= 1 && value <= max,
  `it has to be a whole number from 1 to ${max}`
]

const host = (option: string, value: string | undefined): Rule => {
  const rule = value === undefined ? undefined : OptionRules.host(value)
  return [option, rule === undefined, rule ?? ""]
}

const time = (option: string, value: Duration.Input | undefined, min = 1): Rule => [
  option,
  value === undefined || Option.exists(Duration.fromInput(value), (given) => Duration.toMillis(given) >= min),
  `it has to be a time of at least ${min} ms`
]

/** The first option that can't be meant. */
const wrongOption = (endpoint: Endpoint.Endpoint, options: Options): CredentialError.OptionInvalid | undefined => {
  const rules: ReadonlyArray<Rule> = [
    host("host", endpoint.push.host),
    host("broadcast.host", endpoint.broadcast.host),
    host("channels.host", endpoint.channels.host),
    host("proxy.host", endpoint.proxy?.host),
    whole("proxy.port", endpoint.proxy?.port ?? 1, 65_535),
    whole("port", endpoint.push.port, 65_535),
    whole("broadcast.port", endpoint.broadcast.port, 65_535),
    whole("channels.port", endpoint.channels.port, 65_535),
    whole("maxConnections", options.maxConnections ?? 1, 1000),
    time("connectTimeout", options.connectTimeout),
    time("requestTimeout", options.requestTimeout),
    time("queueTimeout", options.queueTimeout),
    time("idleTimeout", options.idleTimeout),
    time("idlePing", options.idlePing),
    time("pingTimeout", options.pingTimeout),
    time("drainTimeout", options.drainTimeout, 0)
  ]
  const broken = rules.find(([, isKept]) => !isKept)
  return broken && new CredentialError.OptionInvalid({ option: broken[0], rule: broken[2] })
}

/** What Apple allows on one connection, as a rule. */
const streams = 1000

const header = (headers: Connection.Response["headers"], name: string): string | undefined => {
  for (const field of headers) if (field[0] === name) return field[1]
  return undefined
}

/**
 * What became of a push, from what became of its request. `now` gives
 * milliseconds since 1970. Ids that are no UUIDs are not Apple's, and not handed
 * on; nor is a page with the status 200, as portals give it, an accepted push.
 */
const receiptOf = (
  token: string,
  apnsId: string,
  outcome: Pool.Outcome,
  now: () => number
): Result.Result<Receipt, ApnsError.ApnsError> => {
  if (Result.isFailure(outcome)) return Result.fail(outcome.failure)
  const { attempts, body, duration, response } = outcome.success
  const { headers, status } = response
  const answeredId = Reason.idOf(header(headers, "apns-id"), apnsId)
  if (status === 200 && (response.body.length === 0 || answeredId !== undefined)) {
    return Result.succeed({
      apnsId: answeredId ?? apnsId,
      apnsUniqueId: Reason.idOf(header(headers, "apns-unique-id")),
      attempts,
      duration
    })
  }
  const after = header(headers, "retry-after")
  const wait = after === undefined ? undefined : retryAfter(after, now())
  return Result.fail(ApnsError.fromAnswer({
    status,
    ...(status < 300 ? { ...body, isForeign: true } : body),
    token,
    apnsId: answeredId ?? apnsId,
    ...(wait === undefined ? undefined : { retryAfter: wait })
  }))
}

const badToken = (token: string) =>
  Result.fail(ApnsError.fromAnswer({ status: 400, reason: "BadDeviceToken", timestamp: undefined, token }))

const isBadToken = (result: Result.Result<Receipt, ApnsError.ApnsError>): boolean =>
  Result.isFailure(result) && ApnsError.wordOf(result.failure) === "BadDeviceToken"

const isSame = (a: Endpoint.Authority, b: Endpoint.Authority): boolean => a.host === b.host && a.port === b.port

/** Makes the sender of one credential. Connections are opened when there is something to send. */
export const make = Effect.fnUntraced(function*(
  credential: Credential.Options,
  endpoint: Endpoint.Endpoint,
  options: Options
): Effect.fn.Return<Sender, CredentialError.CredentialError, Scope.Scope> {
  const wrong = wrongOption(endpoint, options)
  if (wrong !== undefined) return yield* CredentialError.make(wrong)
  const watched = yield* Effect.provide(Credential.watch(credential), NodeFileSystem.layer)
  const maxConnections = options.maxConnections ?? 4

  const dial = ({ providerToken, tls }: Credential.Credential, { host, port }: Endpoint.Authority) => ({
    providerToken,
    open: Connection.make({
      host,
      port,
      tls: { ...tls, requireAlpn: false },
      proxy: endpoint.proxy,
      connectTimeout: options.connectTimeout,
      requestTimeout: options.requestTimeout,
      idlePing: options.idlePing,
      pingTimeout: options.pingTimeout
    })
  })

  const pool = Effect.fnUntraced(function*(authority: Endpoint.Authority) {
    const pool = yield* Pool.make({
      ...dial(yield* SubscriptionRef.get(watched), authority),
      maxConnections,
      queueTimeout: Duration.fromInputUnsafe(options.queueTimeout ?? "30 seconds"),
      idleTimeout: Duration.fromInputUnsafe(options.idleTimeout ?? "10 minutes"),
      drainTimeout: Duration.fromInputUnsafe(options.drainTimeout ?? "10 seconds")
    })
    yield* SubscriptionRef.changes(watched).pipe(
      Stream.drop(1),
      Stream.runForEach((fresh) => Effect.sync(() => pool.replace(dial(fresh, authority)))),
      Effect.forkScoped
    )
    return pool
  })

  const push = yield* pool(endpoint.push)
  const broadcast = isSame(endpoint.broadcast, endpoint.push) ? push : yield* pool(endpoint.broadcast)
  const manage = isSame(endpoint.channels, endpoint.push) ? push : yield* pool(endpoint.channels)
  const current = () => SubscriptionRef.getUnsafe(watched)
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const bad = new BadTokens()

  return {
    environment: endpoint.environment,
    credential: "key" in credential ? "Key" : "Certificate",
    get topics() {
      return current().topics
    },
    get defaultTopic() {
      return current().defaultTopic
    },
    inFlight: maxConnections * streams,
    submit: ({ apnsId, encoded, token }, settle) => {
      if (bad.has(token, now)) {
        let isGiven = false
        queueMicrotask(() => isGiven || settle(badToken(token)))
        return () => isGiven = true
      }
      return push.submit({
        method: "POST",
        path: DeviceToken.path(token),
        shared: encoded.headers,
        headers: [{ name: "apns-id", value: apnsId }],
        body: encoded.body,
        expiration: encoded.expiration
      }, (outcome) => {
        const result = receiptOf(token, apnsId, outcome, now)
        if (isBadToken(result)) bad.add(token, now())
        settle(result)
      })
    },
    exchange: ({ body, expiration, headers, host, method, path }) =>
      Effect.callback<Channel.Response, ApnsError.ApnsError>((resume) => {
        const to = host === "manage" ? manage : broadcast
        const cancel = to.submit(
          { method, path, shared: headers, headers: [], body, expiration },
          (outcome) => resume(Effect.fromResult(Result.map(outcome, ({ response }) => response)))
        )
        return Effect.sync(cancel)
      })
  }
})
