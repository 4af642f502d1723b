/**
 * Opens the socket of a connection: DNS, TCP, proxy, TLS.
 *
 * Each connection resolves the name again and tries the addresses in random
 * order, so that connections spread over them. A silent address does not delay
 * the others. The session uses `node:tls` directly, because it writes once for
 * many requests and outside of any fiber.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as Arr from "effect/Array"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Dns from "node:dns"
import * as Net from "node:net"
import * as Tls from "node:tls"
import { textOf } from "../../internal/tls.ts"
import * as Http2Error from "../Http2Error.ts"
import type { Options, TlsOptions } from "../Options.ts"
import { connectFailure, lookupFailure, tlsFailure } from "./failure.ts"
import { tunnel } from "./tunnel.ts"

/** The next address gets its attempt after this delay, even if the one before is still silent. */
const attemptDelay = Duration.millis(250)

/** The peer's name in messages. */
export const serverName = (options: Options): string => `https://${hostPort(options.host, options.port ?? 443)}`

/** `host:port`, with brackets around an IPv6 address. */
export const hostPort = (host: string, port: number): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

const resolve = (host: string): Effect.Effect<ReadonlyArray<string>, Http2Error.Http2Error> =>
  Effect.callback((resume) => {
    Dns.lookup(host, { all: true }, (error, addresses) =>
      resume(
        error === null
          ? Effect.succeed(addresses.map(({ address }) => address))
          : Effect.fail(lookupFailure(host, error))
      ))
  })

const addressesOf = (options: Options, host: string) =>
  Net.isIP(host) !== 0 ? Effect.succeed([host]) : Effect.flatMap((options.lookup ?? resolve)(host), Random.shuffle)

/** Fails for the first address that the options refuse. */
const checked = ({ host, refuseAddress }: Options, addresses: ReadonlyArray<string>) => {
  for (const address of addresses) {
    const detail = refuseAddress?.(address)
    if (detail !== undefined) {
      return Effect.fail(Http2Error.make(new Http2Error.AddressRefused({ host, address, detail })))
    }
  }
  return Effect.succeed(addresses)
}

/** Waits for an event of a socket, or for its failure. The scope owns the socket. */
const wait = (
  socket: Net.Socket,
  event: "connect" | "secureConnect",
  failure: (cause: unknown) => Http2Error.Http2Error
): Effect.Effect<void, Http2Error.Http2Error> =>
  Effect.callback((resume) => {
    const ready = () => end(Effect.void)
    const failed = (cause: unknown) => end(Effect.fail(failure(cause)))
    const closed = () => failed("it closed the connection while it opened")
    const end = (effect: Effect.Effect<void, Http2Error.Http2Error>) => {
      socket.off(event, ready).off("error", failed).off("close", closed)
      resume(effect)
    }
    socket.once(event, ready).once("error", failed).once("close", closed)
    return Effect.sync(() => end(Effect.void))
  })

/** Opens a socket that the scope destroys. The socket's close event reports later errors. */
const acquire = <S extends Net.Socket>(open: () => S): Effect.Effect<S, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => open().on("error", () => {})),
    (socket) => Effect.sync(() => socket.destroy())
  )

const tcp = Effect.fnUntraced(function*(
  address: string,
  port: number,
  name: string,
  opened: (socket: Net.Socket) => void
) {
  const socket = yield* acquire(() =>
    Net.connect({ host: address, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 })
  )
  opened(socket)
  yield* wait(socket, "connect", (cause) => connectFailure(name, cause))
  return socket
})

/**
 * Starts the first attempt, and each next one when the attempt before it has failed
 * or takes longer than {@link attemptDelay}. The first success wins. RFC 8305,
 * section 5.
 */
const staggered = <A, E, R>(
  [first, ...others]: Arr.NonEmptyReadonlyArray<Effect.Effect<A, E, R>>
): Effect.Effect<A, E, R> =>
  Arr.isReadonlyArrayNonEmpty(others)
    ? Effect.suspend(() => {
      const failed = Deferred.makeUnsafe<void>()
      const attempt = Effect.onError(first, () => Deferred.succeed(failed, undefined))
      const next = Effect.andThen(Effect.timeoutOption(Deferred.await(failed), attemptDelay), staggered(others))
      return Effect.raceAll([attempt, next])
    })
    : first

/** Connects to one of the addresses and closes the sockets to the others. */
const tcpAny = Effect.fnUntraced(function*(addresses: ReadonlyArray<string>, host: string, port: number, name: string) {
  const sockets: Array<Net.Socket> = []
  const attempts = addresses.map((address) => tcp(address, port, name, (socket) => sockets.push(socket)))
  if (!Arr.isReadonlyArrayNonEmpty(attempts)) return yield* lookupFailure(host, "it has no address")
  const connected = yield* staggered(attempts)
  for (const socket of sockets) if (socket !== connected) socket.destroy()
  return connected
})

const asPem = (pem: string | Uint8Array): string | Buffer => typeof pem === "string" ? pem : Buffer.from(pem)

const secretPem = (pem: Redacted.Redacted<string | Uint8Array>) => asPem(Redacted.value(pem))

/** The options of `node:tls`. Refuses options that Node.js can't use before a socket opens. */
const tlsOptions = (tls: TlsOptions, host: string): Effect.Effect<Tls.ConnectionOptions, Http2Error.Http2Error> =>
  Effect.try({
    try: () => ({
      ALPNProtocols: ["h2"],
      servername: tls.servername ?? (Net.isIP(host) === 0 ? host : ""),
      secureContext: Tls.createSecureContext({
        minVersion: tls.minVersion ?? "TLSv1.2",
        ...(tls.ca === undefined ? {} : { ca: Array.isArray(tls.ca) ? tls.ca.map(asPem) : asPem(tls.ca as string) }),
        ...(tls.cert === undefined ? {} : { cert: asPem(tls.cert) }),
        ...(tls.key === undefined ? {} : { key: secretPem(tls.key) }),
        ...(tls.pfx === undefined ? {} : { pfx: Buffer.from(Redacted.value(tls.pfx)) }),
        ...(tls.passphrase === undefined ? {} : { passphrase: Redacted.value(tls.passphrase) })
      })
    }),
    catch: (cause) =>
      Http2Error.make(
        new Http2Error.OptionInvalid({
          option: "tls",
          rule: `must be usable by Node.js, which says: ${textOf(cause)}. Check ca, cert, key, pfx and passphrase`
        })
      )
  })

/** Opens a TLS socket to the server for HTTP/2. Calls `reached` when a stage begins. */
export const dial = Effect.fnUntraced(function*(options: Options, reached: (stage: Http2Error.Stage) => void) {
  const { host, port = 443, proxy, tls = {} } = options
  const server = serverName(options)
  const secure = yield* tlsOptions(tls, host)

  reached("lookup")
  const next = proxy ?? { host, port }
  const addresses = yield* Effect.flatMap(addressesOf(options, next.host), (all) => checked(options, all))
  reached("connect")
  const name = proxy === undefined ? server : `the proxy ${hostPort(proxy.host, proxy.port)}`
  const socket = yield* tcpAny(addresses, next.host, next.port, name)
  if (proxy !== undefined) {
    reached("proxy")
    yield* tunnel(socket, proxy, { proxy: hostPort(proxy.host, proxy.port), server, target: hostPort(host, port) })
  }

  reached("tls")
  const secured = yield* acquire(() => Tls.connect({ ...secure, host, socket }))
  yield* wait(secured, "secureConnect", (cause) => tlsFailure(server, cause))
  if (secured.alpnProtocol !== "h2" && (tls.requireAlpn ?? true)) {
    return yield* Http2Error.make(
      new Http2Error.NotHttp2({
        server,
        detail: "it does not offer \"h2\" by ALPN; set tls.requireAlpn to false if you know that it speaks HTTP/2"
      })
    )
  }
  return secured
})
