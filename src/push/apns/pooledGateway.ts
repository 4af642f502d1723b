/**
 * The {@link Gateway} to Apple: a credential, the hosts, and a pool of connections for
 * each host.
 *
 * When the files of the credential change, new connections use the new credential. The
 * old connections close when their pushes have ended. A bad device token is not sent to
 * Apple again, since APNs closes the connection of a client that keeps pushing to such
 * tokens: see `BadTokens`. Dead tokens are not kept: APNs does not count them as errors
 * of the client, and the app may register them again.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { Connection } from "../../http2/index.ts"
import { onReplaced } from "../credential/index.ts"
import { BadTokens, InFlight, Pool } from "../pool/index.ts"
import type * as ApnsError from "./answer/ApnsError.ts"
import type * as Reason from "./answer/Reason.ts"
import { badToken, isBadToken, receiptOf } from "./answer/receipt.ts"
import { type ConnectionOptions, limitsOf, wrongOption } from "./connectionOptions.ts"
import { authorizerOf } from "./credential/authorizer.ts"
import * as Credential from "./credential/Credential.ts"
import * as CredentialError from "./credential/CredentialError.ts"
import type * as Endpoint from "./Endpoint.ts"
import type { Gateway } from "./Gateway.ts"
import type * as BroadcastChannel from "./notification/BroadcastChannel.ts"
import * as DeviceToken from "./notification/DeviceToken.ts"
import { provider } from "./provider.ts"

type ApnsPool = Pool.Pool<Reason.Classification, ApnsError.ApnsError>

/** The usual limit of APNs on one connection. */
const streamsPerConnection = 1000

const isSame = (a: Endpoint.Authority, b: Endpoint.Authority): boolean => a.host === b.host && a.port === b.port

/** The deadline to send, in milliseconds since 1970. An expiration of 0 means one attempt, at any time. */
const expiresAt = (expiration: number | undefined): number | undefined =>
  expiration === undefined || expiration <= 0 ? undefined : expiration * 1000

/** Opens connections of a credential to a host. */
const dial = (
  { providerToken, tls }: Credential.Credential,
  { host, port }: Endpoint.Authority,
  proxy: Endpoint.Proxy | undefined,
  { connectTimeout, idlePing, pingTimeout, requestTimeout }: ConnectionOptions
): Pool.Credential => ({
  authorizer: authorizerOf(providerToken),
  open: Connection.make({
    host,
    port,
    tls: { ...tls, requireAlpn: false },
    proxy,
    connectTimeout,
    requestTimeout,
    idlePing,
    pingTimeout
  })
})

/** Makes the pools of the hosts. Equal hosts share a pool. */
const poolsOf = Effect.fnUntraced(function*(
  watched: SubscriptionRef.SubscriptionRef<Credential.Credential>,
  { broadcast, channels, proxy, push }: Endpoint.Endpoint,
  options: ConnectionOptions
) {
  const open = Effect.fnUntraced(function*(authority: Endpoint.Authority) {
    const dialed = (credential: Credential.Credential) => dial(credential, authority, proxy, options)
    const first = dialed(yield* SubscriptionRef.get(watched))
    const pool: ApnsPool = yield* Pool.make(provider, { ...first, ...limitsOf(options) })
    yield* onReplaced(watched, (fresh) => pool.replace(dialed(fresh)))
    return pool
  })
  const pushes = yield* open(push)
  return {
    push: pushes,
    broadcast: isSame(broadcast, push) ? pushes : yield* open(broadcast),
    manage: isSame(channels, push) ? pushes : yield* open(channels)
  }
})

const exchange = (
  pool: ApnsPool,
  { body, expiration, headers, method, path }: BroadcastChannel.Request
): Effect.Effect<BroadcastChannel.Response, ApnsError.ApnsError> =>
  Effect.map(
    pool.exchange({ method, path, shared: headers, headers: [], body, expiresAt: expiresAt(expiration) }),
    ({ response }) => response
  )

/** Makes the gateway of one credential. Its first push opens its first connection. */
export const make = Effect.fnUntraced(function*(
  credential: Credential.Options,
  endpoint: Endpoint.Endpoint,
  options: ConnectionOptions
): Effect.fn.Return<Gateway, CredentialError.CredentialError, Scope.Scope> {
  const wrong = wrongOption(endpoint, options)
  if (wrong !== undefined) return yield* CredentialError.make(wrong)
  const watched = yield* Effect.provide(Credential.watch(credential), NodeFileSystem.layer)
  const { broadcast, manage, push } = yield* poolsOf(watched, endpoint, options)
  const current = () => SubscriptionRef.getUnsafe(watched)
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const bad = new BadTokens()

  return {
    environment: endpoint.environment,
    credential: Credential.isKey(credential) ? "Key" : "Certificate",
    get topics() {
      return current().topics
    },
    get defaultTopic() {
      return current().defaultTopic
    },
    inFlight: limitsOf(options).maxConnections * streamsPerConnection,
    submit: ({ apnsId, encoded, token }, settle) => {
      if (bad.has(token, now)) return InFlight.settleLater(() => settle(badToken(token)))
      return push.submit({
        method: "POST",
        path: DeviceToken.path(token),
        shared: encoded.headers,
        headers: [{ name: "apns-id", value: apnsId }],
        body: encoded.body,
        expiresAt: expiresAt(encoded.expiration)
      }, (reply) => {
        const end = receiptOf(token, apnsId, reply, now)
        if (isBadToken(end)) bad.add(token, now())
        settle(end)
      })
    },
    exchange: (request) => exchange(request.host === "manage" ? manage : broadcast, request)
  }
})
