/**
 * The {@link Gateway} to push services: a pool of connections for each origin and key.
 *
 * Google's service allows 100 streams, takes PINGs amiss and closes idle connections, so
 * no connection sends PINGs while it is idle, and all close when they are. A service
 * without HTTP/2 is reached over HTTP/1.1, which is remembered for an hour.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { Connection, type Http2Error, Message } from "../../http2/index.ts"
import { monotonicMillis } from "../../internal/clock.ts"
import { type Pool, Pools } from "../pool/index.ts"
import { placeless, providerOf } from "./answer/provider.ts"
import * as Reason from "./answer/Reason.ts"
import * as WebPushError from "./answer/WebPushError.ts"
import { Encryptor } from "./encryption/encryptor.ts"
import type { Gateway, Outgoing, Receipt } from "./Gateway.ts"
import * as Http1 from "./http1.ts"
import type { Settled } from "./options.ts"
import { WebPushRequest } from "./request.ts"
import * as AddressGuard from "./subscription/AddressGuard.ts"
import * as Endpoints from "./subscription/Endpoints.ts"
import * as Subscription from "./subscription/Subscription.ts"
import type { Tokens } from "./vapid/tokens.ts"
import type { VapidKey } from "./vapid/VapidKey.ts"

/** The limit of Google's service on one connection. Others say theirs. */
const streamsPerConnection = 100

/** Answers of push services are short. */
const maxResponseSize = 16_384

/** How long it is remembered that an origin has no HTTP/2, in milliseconds, and of how many origins. */
const http1Millis = 3_600_000
const maxHttp1Origins = 1000

/** The useful number of messages in flight to all services. */
const inFlight = 1000

type Reply = Pool.Reply<Reason.Refusal, WebPushError.WebPushError>

/** The origins without HTTP/2. */
class Http1Origins {
  private readonly until = new Map<string, number>()
  private readonly now: () => number

  constructor(now: () => number) {
    this.now = now
  }

  has(origin: string): boolean {
    return this.now() < (this.until.get(origin) ?? 0)
  }

  add(origin: string): void {
    this.until.delete(origin)
    if (this.until.size >= maxHttp1Origins) this.until.delete(this.until.keys().next().value!)
    this.until.set(origin, this.now() + http1Millis)
  }
}

/** Opens connections to an endpoint's origin. */
const openOf = (
  { host, origin, port }: Endpoints.Endpoint,
  { ca, connectTimeout, requestTimeout }: Settled,
  guard: AddressGuard.Guard,
  http1: Http1Origins
): Effect.Effect<Connection.Connection, Http2Error.Http2Error, Scope.Scope> => {
  const name = host.startsWith("[") ? host.slice(1, -1) : host
  const overHttp1 = Http1.make({ host, port, ca, guard, connectTimeout, requestTimeout, maxResponseSize })
  const overHttp2 = Connection.make({
    host: name,
    port,
    ...(ca === undefined ? undefined : { tls: { ca } }),
    lookup: guard.resolve,
    refuseAddress: guard.refuse,
    connectTimeout,
    requestTimeout,
    idlePing: Duration.infinity,
    maxStreams: streamsPerConnection,
    maxResponseSize
  })
  return Effect.suspend(() =>
    http1.has(origin) ? overHttp1 : Effect.catch(overHttp2, (error) => {
      if (error.reason._tag !== "NotHttp2") return Effect.fail(error)
      http1.add(origin)
      return overHttp1
    })
  )
}

/** The end of a message. */
const endOf = (
  { key, subscription, target: { endpoint } }: Outgoing,
  request: WebPushRequest,
  reply: Reply,
  isStranger: boolean
): Result.Result<Receipt, WebPushError.WebPushError> => {
  if (Result.isFailure(reply)) return Result.fail(reply.failure)
  const { attempts, duration, refusal, response } = reply.success
  if (refusal === undefined) {
    const { headers, status } = response
    return Result.succeed({ status, location: Message.header(headers, "location"), attempts, duration })
  }
  return Result.fail(WebPushError.fromRefusal(refusal, {
    host: endpoint.host,
    subscription: Subscription.nameOf(subscription.endpoint),
    key: key.id,
    bytes: request.bytes,
    isStranger
  }))
}

/** A page that a portal answers with is no acceptance of a push service. */
const isDoubtful = (reply: Reply): boolean =>
  Result.isSuccess(reply) && reply.success.refusal === undefined && reply.success.response.status === 200 &&
  Message.header(reply.success.response.headers, "location") === undefined &&
  (Message.header(reply.success.response.headers, "content-type") ?? "").startsWith("text/html")

/** Makes the gateway. Its first message to an origin opens the first connection. */
export const make = Effect.fnUntraced(function*(
  keys: ReadonlyArray<VapidKey>,
  tokens: Tokens,
  options: Settled
): Effect.fn.Return<Gateway, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const now = () => monotonicMillis(clock)
  const guard = yield* AddressGuard.guard
  const run = Effect.runForkWith(yield* Effect.context())
  const http1 = new Http1Origins(now)
  const encryptor = new Encryptor(options.reuseMillis, now)
  const isStranger = (host: string) => options.allow === "anyPublic" && Reason.serviceOf(host) === "Other"
  const { drainTimeout, idleTimeout, maxConnections, maxOrigins, queueTimeout } = options

  const pools = yield* Pools.make<Reason.Refusal, WebPushError.WebPushError>({
    capacity: maxOrigins,
    idleTimeout,
    queueTimeout,
    provider: providerOf(placeless),
    poolOf: (name) => {
      const [origin, publicKey] = name.split(" ")
      const endpoint = Result.getOrThrow(Endpoints.parse(`${origin}/`))
      const key = keys.find((one) => one.publicKey === publicKey)!
      return {
        provider: providerOf(endpoint, isStranger(endpoint.host)),
        options: {
          open: openOf(endpoint, options, guard, http1),
          authorizer: tokens.of(endpoint.origin, key),
          maxConnections,
          queueTimeout,
          idleTimeout,
          closesLast: true,
          doubtAfter: Duration.infinity,
          drainTimeout
        }
      }
    }
  })

  return {
    keys,
    inFlight,
    submit: (push, settle) => {
      const { encoded, key, target: { endpoint } } = push
      const isWindows = endpoint.host.endsWith(".notify.windows.com")
      const request = new WebPushRequest(push, isWindows ? encoded.windowsHeaders : encoded.headers, encryptor)
      return pools.submit(`${endpoint.origin} ${key.publicKey}`, request, (reply) => {
        if (isDoubtful(reply)) {
          run(Effect.logWarning(`${endpoint.host} answered 200 with a page: it may be no push service, but a portal`))
        }
        settle(endOf(push, request, reply, isStranger(endpoint.host)))
      })
    }
  }
})
