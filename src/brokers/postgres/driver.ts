/**
 * The one file that knows `@effect/sql-pg`: sessions with a server, what goes
 * in and out of their statements, and the transaction of a client.
 *
 * A session sends what many fibers ask for without waiting for the answers
 * between (each statement is a transaction of its own), and knows at once when
 * its socket closed. Rows are arrays of values; whole numbers of 8 bytes are
 * `bigint`.
 */
import { PgClient } from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import * as PgTypes from "@effect/sql-pg/PgTypes"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import * as Net from "node:net"
import type { ConnectionOptions } from "node:tls"
import { messageOfThrown } from "../../internal/thrown.ts"

export { PgClient }

/** What came of a statement. */
export type Rows = ReadonlyArray<ReadonlyArray<unknown>>

/** A session could not be opened, or a statement failed. */
export class DriverError extends Data.TaggedError("DriverError")<{
  readonly phase: "connect" | "query"
  /** The SQLSTATE; `undefined` where no server answered. */
  readonly code: string | undefined
  readonly detail: string
  readonly cause: unknown
}> {
  /** The same failure of a statement that is a part of opening the session. */
  get atConnect(): DriverError {
    const { cause, code, detail } = this
    return new DriverError({ phase: "connect", code, detail, cause })
  }
}

/** Runs a statement. */
export type Query = (sql: string, parameters?: ReadonlyArray<unknown>) => Effect.Effect<Rows, DriverError>

/** A session with a server. */
export interface Session {
  readonly query: Query
  readonly isOpen: () => boolean
  /** The number by which the server's side says that this session can be cancelled. A pooler makes up one of its own. */
  readonly pid: number
  /** Waits for its end. */
  readonly closed: Effect.Effect<void>
  /** Listens on a channel, and gives what is said there. To be called once. */
  readonly listen: (channel: string) => Effect.Effect<Effect.Effect<string>, DriverError, Scope.Scope>
}

/** How a session is opened. */
export interface Target {
  readonly host: string
  readonly port: number
  readonly user: string | undefined
  readonly password: Redacted.Redacted | Effect.Effect<Redacted.Redacted> | undefined
  readonly database: string | undefined
  readonly tls: ConnectionOptions | undefined
  readonly connectTimeout: Duration.Duration
  /** Settings of the session. */
  readonly settings: Readonly<Record<string, string>>
  /** Whether the session keeps prepared statements. */
  readonly isPrepared: boolean
}

/** The code of a failure that the server reports. All of them have a digit; those of Node.js, such as `EPIPE`, have none. */
const stateOf = (cause: unknown): string | undefined =>
  typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string"
    && /^(?=.*\d)[0-9A-Z]{5}$/.test(cause.code)
    ? cause.code
    : undefined

const failed = (phase: DriverError["phase"]) => ({ reason }: SqlError): DriverError => {
  const { cause } = reason
  const detail = cause instanceof Error && cause.message !== "" ? cause.message : reason.message
  return new DriverError({ phase, code: stateOf(cause), detail, cause })
}

/** Arrays of a statement are written to a buffer that is kept, up to this many bytes. */
const keptBytes = 1024 * 1024
let kept = Buffer.alloc(0)

const bufferOf = (bytes: number): Buffer => {
  if (bytes > keptBytes) return Buffer.allocUnsafe(bytes)
  if (kept.length < bytes) kept = Buffer.allocUnsafeSlow(Math.min(keptBytes, 2 * bytes))
  return kept
}

/** An array in PostgreSQL's binary format, which is valid until the next one is made. `write` returns the next offset. */
const binaryArray = <A>(
  type: number,
  values: ReadonlyArray<A>,
  bytesOfValues: number,
  write: (buffer: Buffer, value: A, offset: number) => number
): Uint8Array => {
  const header = [1, values.includes(undefined as A) ? 1 : 0, type, values.length, 1]
  const buffer = bufferOf(4 * (header.length + values.length) + bytesOfValues)
  let offset = 0
  for (const number of header) offset = buffer.writeInt32BE(number, offset)
  for (const value of values) {
    if (value === undefined) offset = buffer.writeInt32BE(-1, offset)
    else {
      const end = write(buffer, value, offset + 4)
      buffer.writeInt32BE(end - offset - 4, offset)
      offset = end
    }
  }
  return buffer.subarray(0, offset)
}

const byteaArray = (values: ReadonlyArray<Uint8Array>): Uint8Array =>
  binaryArray(
    PgTypes.OID.bytea,
    values,
    values.reduce((sum, { length }) => sum + length, 0),
    (buffer, value, offset) => {
      buffer.set(value, offset)
      return offset + value.length
    }
  )

const int8Array = (values: ReadonlyArray<number | undefined>): Uint8Array =>
  binaryArray(
    PgTypes.OID.int8,
    values,
    8 * values.length,
    (buffer, value, offset) =>
      buffer.writeUInt32BE(value! >>> 0, buffer.writeInt32BE(Math.floor(value! / 2 ** 32), offset))
  )

/**
 * The driver writes an array into a buffer that it doubles until all fits. For 500 bodies it leaves half a megabyte to the
 * garbage collector, which then takes a third of the CPU of a put. Given the whole array, it doubles once: 3 us of 9 less
 * for each job. Its arrays of numbers would need a `bigint` for each.
 */
const types = PgTypes.makeRegistry()
const registerArray = <A>(type: number, arrayOf: (values: ReadonlyArray<A>) => Uint8Array) =>
  types.register<ReadonlyArray<A>>(type, {
    encode: (values) => Result.succeed(arrayOf(values)),
    // No statement returns such an array.
    decode: () => Result.succeed([])
  })
registerArray(PgTypes.OID.byteaArray, byteaArray)
registerArray(PgTypes.OID.int8Array, int8Array)

const keepAliveMillis = 5000

/** The largest row that is read, in bytes. */
const maxMessageSize = 80 * 1024 * 1024

const sessionOf = (
  connection: PgConnection.PgConnection,
  isOpen: () => boolean,
  closed: Effect.Effect<void>
): Session => ({
  query: (sql, parameters) => Effect.mapError(connection.queryValues(sql, parameters), failed("query")),
  isOpen,
  pid: connection.processId,
  closed,
  listen: (channel) =>
    Effect.map(
      Effect.mapError(connection.listen(channel), failed("query")),
      (notices) =>
        Effect.map(Effect.orElseSucceed(Queue.take(notices), () => ({ payload: "" })), ({ payload }) => payload)
    )
})

/** Opens a session, which ends with its scope. `isShared` lets statements of many fibers be under way together. */
export const connect = Effect.fnUntraced(function*(
  target: Target,
  isShared: boolean
): Effect.fn.Return<Session, DriverError, Scope.Scope> {
  const ended = yield* Deferred.make<void>()
  let socket: Net.Socket | undefined
  // The driver does not tell of a socket that closes while nothing is asked.
  const stream = () => {
    const { host, port } = target
    socket = Net.connect(host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port}` } : { host, port, noDelay: true })
    socket.setKeepAlive(true, keepAliveMillis)
    socket.once("close", () => Deferred.doneUnsafe(ended, Effect.void))
    return socket
  }
  const { connectTimeout, database, password, settings, tls, user } = target
  const connection = yield* PgConnection.make({
    host: target.host,
    port: target.port,
    stream,
    ssl: tls ?? false,
    username: user,
    password,
    database,
    connectTimeout,
    applicationName: "backq",
    startupParameters: settings,
    multiplex: isShared,
    prepare: target.isPrepared,
    types,
    maxMessageSize
  }).pipe(Effect.mapError(failed("connect")))
  const own = isShared ? connection : yield* connection.pin
  return sessionOf(own, () => socket !== undefined && !socket.destroyed, Deferred.await(ended))
})

// -----------------------------------------------------------------------------
// Parameters
// -----------------------------------------------------------------------------

const arrayOf = (values: ReadonlyArray<unknown>, type: number): unknown =>
  Result.getOrThrow(PgTypes.array(values, type))

/** Whole numbers of 8 bytes; `undefined` is NULL. */
export const int8s = (values: ReadonlyArray<number | undefined>): unknown => arrayOf(values, PgTypes.OID.int8)

/** Whole numbers of 4 bytes. */
export const int4s = (values: ReadonlyArray<number>): unknown => arrayOf(values, PgTypes.OID.int4)

/** Texts, as {@link text} makes them. */
export const texts = (values: ReadonlyArray<string | undefined>): unknown => arrayOf(values.map(text), PgTypes.OID.text)

/** A text; `undefined` is NULL. PostgreSQL's texts have no NUL. */
export const text = (value: string | undefined): unknown => value?.replaceAll("\0", "\ufffd") ?? null

/** Bodies. */
export const bodies = (values: ReadonlyArray<Uint8Array>): unknown => arrayOf(values, PgTypes.OID.bytea)

/** A whole number of 8 bytes. */
export const int8 = (value: number): unknown => PgTypes.int8(BigInt(value))

// -----------------------------------------------------------------------------
// A client of the program
// -----------------------------------------------------------------------------

/** How the sessions of a client are opened. */
export type ClientConfig = PgClient["config"]

/** What runs statements in the transaction of a client that a fiber with this context is in, if it is in one. */
export const transactionIn = (client: PgClient, context: Context.Context<never>): Query | undefined => {
  const transaction = Context.getOption(context, client.transactionService)
  return Option.isNone(transaction) ?
    undefined :
    (sql, parameters = []) => Effect.mapError(transaction.value[0].executeValues(sql, parameters), failed("query"))
}

/** What a client of others failed with. Some wrap the server's error in one of their own. */
export const errorOfClient = (thrown: unknown): DriverError => {
  let cause = thrown
  for (let depth = 0; depth < 5 && stateOf(cause) === undefined; depth++) {
    if (!(cause instanceof Error) || cause.cause === undefined) break
    cause = cause.cause
  }
  return new DriverError({ phase: "query", code: stateOf(cause), detail: messageOfThrown(cause), cause })
}
