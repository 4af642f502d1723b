/**
 * Opens sessions with the primary: the first of the hosts that answers and
 * takes writes. Names are looked up, and the password is asked for, at every
 * attempt.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { ConnectionOptions } from "node:tls"
import { type BrokerError, make as brokerError, Unavailable } from "../../BrokerError.ts"
import { type Host, isLocal } from "../../internal/postgresUrl.ts"
import * as Driver from "./driver.ts"
import { failure, isSettingsRefused, isWorthWaiting, notPrimary, settingsRefused, tooOld } from "./failure.ts"
import type { Pooling } from "./pooling.ts"

/**
 * How the server is authenticated.
 *
 * @category models
 * @since 0.1.0
 */
export type SslMode = "disable" | "require" | "verify-ca" | "verify-full"

/**
 * What TLS needs beside its mode. All are PEM, not names of files.
 *
 * @category models
 * @since 0.1.0
 */
export interface TlsOptions {
  /** Authorities to trust instead of the system's. */
  readonly ca?: string | Uint8Array | ReadonlyArray<string | Uint8Array> | undefined
  /** A certificate of the client. */
  readonly cert?: string | Uint8Array | undefined
  readonly key?: Redacted.Redacted | undefined
}

/** The servers, and who asks. */
export interface Servers {
  readonly broker: string
  readonly schema: string
  readonly hosts: ReadonlyArray<Host>
  readonly user: string | undefined
  readonly password: Driver.Target["password"]
  readonly database: string | undefined
  readonly tls: (host: string) => ConnectionOptions | undefined
  readonly connectTimeout: Duration.Duration
  readonly pooling: Pooling
}

/** A session with the primary. */
export interface Session extends Driver.Session {
  /** Whether a relay, which may be a pooler, is in between. */
  readonly isRelayed: boolean
  /** The host that it is with. */
  readonly host: string
}

/** The default mode: no TLS on this machine, full verification elsewhere. */
export const defaultMode = (host: string): SslMode => isLocal(host) ? "disable" : "verify-full"

const pem = (text: string | Uint8Array): string | Buffer => typeof text === "string" ? text : Buffer.from(text)

/** What a mode asks of TLS; `undefined` for none. */
export const tlsOf = (
  mode: SslMode,
  { ca, cert, key }: TlsOptions,
  host: string
): ConnectionOptions | undefined => {
  if (mode === "disable") return undefined
  const options: ConnectionOptions = {
    host,
    minVersion: "TLSv1.2",
    ...(ca === undefined ? {} : { ca: Array.isArray(ca) ? ca.map(pem) : pem(ca as string | Uint8Array) }),
    ...(cert === undefined ? {} : { cert: pem(cert) }),
    ...(key === undefined ? {} : { key: Redacted.value(key) })
  }
  if (mode === "require") return { ...options, rejectUnauthorized: false }
  return mode === "verify-ca" ? { ...options, checkServerIdentity: () => undefined } : options
}

// What the plans of the statements rest on, and what keeps a statement from holding others up.
export const settings = {
  search_path: "pg_catalog",
  plan_cache_mode: "force_generic_plan",
  enable_seqscan: "off",
  enable_bitmapscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off",
  jit: "off",
  default_transaction_isolation: "read committed",
  statement_timeout: "30s",
  lock_timeout: "10s",
  idle_in_transaction_session_timeout: "30s"
}

/** The oldest server that has all that the statements need: 13. */
const oldestVersion = 130_000

/** How long after a host the next one is tried, if the first has not answered. */
const nextAfter = "250 millis"

/** How a session is used. */
export interface Use {
  /** Whether many fibers share it. */
  readonly isShared: boolean
  /** Whether an answer waits for the disk. */
  readonly isDurable: boolean
  /** Whether its end must be noticed within seconds, even if a machine is cut off. */
  readonly isWatched: boolean
}

const settingsOf = ({ isDurable, isWatched }: Use) => ({
  ...settings,
  ...(isDurable ? {} : { synchronous_commit: "off" }),
  ...(isWatched
    ? { tcp_keepalives_idle: "2", tcp_keepalives_interval: "1", tcp_keepalives_count: "3", tcp_user_timeout: "5000" }
    : {})
})

/** The setting whose value shows that the settings of a session came through to the server. */
const shown = "plan_cache_mode"

const connectTo = (servers: Servers, { host, port }: Host, use: Use) => {
  const { connectTimeout, database, password, pooling: { isPooled }, tls, user } = servers
  return Driver.connect({
    host,
    port,
    user,
    password,
    database,
    tls: tls(host),
    connectTimeout,
    settings: isPooled ? {} : settingsOf(use),
    isPrepared: !isPooled
  }, use.isShared)
}

const ask = `SELECT current_setting('server_version_num')::int, current_setting('server_version'),
  NOT (pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean), pg_backend_pid(),
  current_setting('${shown}', true)`

/** What a server says of itself, and of the session. */
interface Answer {
  readonly isOldVersion: boolean
  readonly version: string
  readonly isPrimary: boolean
  readonly pid: number
  readonly hasSettings: boolean
}

const answerOf = (row: ReadonlyArray<unknown>): Answer => ({
  isOldVersion: Number(row[0]) < oldestVersion,
  version: String(row[1]),
  isPrimary: row[2] === true,
  pid: Number(row[3]),
  hasSettings: row[4] === settings[shown]
})

/** What keeps the broker from using a server; `undefined` where nothing does. */
export const objectionTo = (
  broker: string,
  { isOldVersion, isPrimary, version }: Pick<Answer, "isOldVersion" | "isPrimary" | "version">
): BrokerError | undefined => {
  if (isOldVersion) return tooOld(broker, version)
  return isPrimary ? undefined : notPrimary(broker)
}

/** One attempt at a session, which ends with its scope. */
const attempt = Effect.fnUntraced(function*(
  servers: Servers,
  host: Host,
  use: Use
): Effect.fn.Return<Session, Driver.DriverError | BrokerError, Scope.Scope> {
  const { broker, pooling } = servers
  const session = yield* connectTo(servers, host, use)
  const [row] = yield* Effect.mapError(session.query(ask), (error) => error.atConnect)
  const answer = answerOf(row!)
  // A pooler hands out numbers of its own. One that passes the settings on may pass everything on.
  const isRelayed = session.pid !== answer.pid
  if (isRelayed && !answer.hasSettings && pooling.isOpen) return yield* settingsRefused
  const objection = objectionTo(broker, answer)
  return objection === undefined ? { ...session, isRelayed, host: nameOf(host) } : yield* objection
})

/** Runs with a scope of its own within the one around, which is closed early when this fails. */
const closedOnFailure = <A, E, R>(effect: Effect.Effect<A, E, R | Scope.Scope>) =>
  Effect.flatMap(
    Effect.scope,
    (scope) =>
      Effect.flatMap(Scope.fork(scope), (own) =>
        Scope.provide(effect, own).pipe(Effect.onError(() => Scope.close(own, Exit.void))))
  )

const openOn = (servers: Servers, host: Host, use: Use): Effect.Effect<Session, BrokerError, Scope.Scope> => {
  const { broker, pooling, schema } = servers
  const once = closedOnFailure(attempt(servers, host, use))
  const again = (error: Driver.DriverError) =>
    pooling.isOpen && isSettingsRefused(error) ? Effect.andThen(pooling.found(), once) : Effect.fail(error)
  return once.pipe(
    Effect.catchTag("DriverError", again),
    Effect.catchTag("DriverError", (error) => Effect.fail(failure(broker, schema, error)))
  )
}

export const nameOf = ({ host, port }: Host): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

/** What ends the search: a session, or what waiting does not mend. */
type Opened = Result.Result<Session, BrokerError>

/** The failure of all hosts, as one. */
const ofAll = (broker: string, hosts: ReadonlyArray<Host>, failures: ReadonlyMap<Host, BrokerError>): BrokerError => {
  const found = hosts.flatMap((host) => failures.has(host) ? [[nameOf(host), failures.get(host)!] as const] : [])
  const detail = found.map(([name, { reason }]) =>
    `${name}: ${reason._tag === "Unavailable" ? reason.detail : reason.message}`
  )
  return brokerError(new Unavailable({ broker, fate: "NotSent", detail: detail.join("; ") }))
}

/**
 * Opens a session with the primary. Tries each host a moment after the one before, or when that one fails, so a silent
 * host delays no other. While one is silent the others are tried again: a standby may become the primary.
 */
export const open = (servers: Servers, use: Use): Effect.Effect<Session, BrokerError, Scope.Scope> => {
  const { broker, hosts } = servers
  const [first, ...others] = hosts
  if (others.length === 0) return openOn(servers, first!, use)
  return Effect.suspend(() => {
    const failures = new Map<Host, BrokerError>()
    const failed = hosts.map(() => Latch.makeUnsafe())
    const attempts = hosts.map((host, i) => {
      const again: Effect.Effect<Opened, BrokerError, Scope.Scope> = Effect.suspend(() =>
        failures.size < hosts.length ? tried : Effect.fail(failures.get(host)!)
      )
      const tried = Effect.matchEffect(openOn(servers, host, use), {
        onSuccess: (session) => Effect.succeed<Opened>(Result.succeed(session)),
        onFailure: (error) => {
          if (!isWorthWaiting(error)) return Effect.succeed<Opened>(Result.fail(error))
          failures.set(host, error)
          return Effect.andThen(failed[i]!.open, Effect.delay(again, failures.size < hosts.length ? nextAfter : 0))
        }
      })
      return Effect.andThen(i === 0 ? Effect.void : Effect.timeoutOption(failed[i - 1]!.await, nextAfter), tried)
    })
    return Effect.raceAll(attempts).pipe(
      Effect.mapError(() => ofAll(broker, hosts, failures)),
      Effect.flatMap(Effect.fromResult)
    )
  })
}
