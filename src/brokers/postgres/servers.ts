/**
 * Opens sessions with the primary: the first of the hosts that answers and
 * takes writes. Names are looked up, and the password is asked for, at every
 * attempt.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type { ConnectionOptions } from "node:tls"
import type { BrokerError } from "../../BrokerError.ts"
import { type Host, isLocal } from "../../internal/postgresUrl.ts"
import * as Driver from "./driver.ts"
import { failure, isWorthWaiting, notPrimary } from "./failure.ts"

/**
 * How the server is made sure of.
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
}

/** The mode of those who name none: what nobody can listen to or stand in for. */
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
const settings = {
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

/** How a session is used. */
export interface Use {
  /** Do statements of many fibers share it? */
  readonly isShared: boolean
  /** Is an answer to wait for the disk? */
  readonly isDurable: boolean
  /** Has its end to be noticed within seconds, also of a machine that was cut off? */
  readonly isWatched: boolean
}

const settingsOf = ({ isDurable, isWatched }: Use) => ({
  ...settings,
  ...(isDurable ? {} : { synchronous_commit: "off" }),
  ...(isWatched
    ? { tcp_keepalives_idle: "2", tcp_keepalives_interval: "1", tcp_keepalives_count: "3", tcp_user_timeout: "5000" }
    : {})
})

const openOn = Effect.fnUntraced(function*(servers: Servers, { host, port }: Host, use: Use) {
  const { broker, connectTimeout, database, password, schema, tls, user } = servers
  const scope = yield* Effect.scope
  const own = yield* Scope.fork(scope)
  const open = Effect.gen(function*() {
    const session = yield* Driver.connect(
      { host, port, user, password, database, tls: tls(host), connectTimeout, settings: settingsOf(use) },
      use.isShared
    )
    const [row] = yield* session.query(
      "SELECT NOT (pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean)"
    )
    return { session, isPrimary: row?.[0] === true }
  }).pipe(
    Effect.mapError((error) => failure(broker, schema, error)),
    Effect.flatMap(({ isPrimary, session }) => isPrimary ? Effect.succeed(session) : Effect.fail(notPrimary(broker)))
  )
  return yield* Scope.provide(open, own).pipe(Effect.onError(() => Scope.close(own, Exit.void)))
})

/** Opens a session with the primary. */
export const open = (servers: Servers, use: Use): Effect.Effect<Driver.Session, BrokerError, Scope.Scope> => {
  const [first, ...others] = servers.hosts.map((host) => openOn(servers, host, use))
  return others.reduce((one, next) => Effect.catchIf(one, isWorthWaiting, () => next), first!)
}
