/**
 * The {@link Broker} in a database of PostgreSQL: the same jobs for any number
 * of machines, on a server that has backups, replicas and an owner.
 *
 * Its semantics are beanstalkd's, in milliseconds instead of seconds. What was
 * answered is committed, and on disk where the server's settings say so. With
 * {@link layerSql} a publish within a transaction of the program's own client
 * is part of it: the job exists if and only if the transaction committed.
 * {@link within} does the same in a transaction of any other client, and
 * {@link done} settles a job in the transaction of its handler.
 *
 * A job of this process starts at once, one of another process within
 * milliseconds (or within a second, where its notification was lost). The jobs
 * of a killed worker are ready again about a second after its session ended.
 *
 * A reserve does not wait for the disk: a crash of the server may undo the last half second of them. The job is ready
 * again, and its holder's settlement fails with `LeaseLost`.
 *
 * Limits: three connections for each process that works, one for each that
 * only publishes. Behind a pooler in transaction mode jobs of other processes
 * start within 0.1 s, and those of a dead worker are ready after 10 s. Time is
 * the server's wall clock.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { type Broker, checkQueue, type Consumer, type Features, type Lease, type PutRequest } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import type { Inspector, Services } from "../../Inspector.ts"
import { Checked, Rules, Services as Shared } from "../shared/index.ts"
import { PostgresConsumer } from "./consumer.ts"
import * as Driver from "./driver.ts"
import { failure } from "./failure.ts"
import { largestBody } from "./functions.ts"
import * as Grants from "./grants.ts"
import * as History from "./history.ts"
import * as Inspection from "./inspector.ts"
import { Link } from "./link.ts"
import type * as Pooling from "./pooling.ts"
import { Presence } from "./presence.ts"
import { portions, type Put, Puts } from "./puts.ts"
import * as Reach from "./reach.ts"
import * as Schema from "./schema.ts"
import * as Servers from "./servers.ts"
import { Store } from "./store.ts"
import * as Transaction from "./transaction.ts"

/**
 * How the server is made sure of: `verify-full` trusts only a certificate of a
 * known authority that is for this host, `verify-ca` takes one for any host,
 * `require` takes any certificate, and `disable` does without TLS.
 *
 * @category models
 * @since 0.1.0
 */
export type SslMode = Servers.SslMode

/**
 * What TLS needs beside its mode.
 *
 * @category models
 * @since 0.1.0
 */
export type TlsOptions = Servers.TlsOptions

/**
 * What is between a program and the server: nothing that matters (`none`), a pooler in transaction mode
 * (`transaction`), or one of them (`auto`).
 *
 * @category models
 * @since 0.1.0
 */
export type Pooler = Pooling.Mode

/**
 * The options of every PostgreSQL broker, however it connects.
 *
 * @category models
 * @since 0.1.0
 */
export interface BrokerOptions {
  /** The schema with the jobs. The broker creates it if it does not exist. Default: `backq`. */
  readonly schema?: string | undefined
  /** Whether this program creates the schema and brings it up to date. Default: `true`. */
  readonly migrate?: boolean | undefined
  /**
   * What an acknowledged operation survives. `"full"`: a crash of the server. `"normal"`: only a crash of a program; a
   * crash of the server may undo about the last 0.6 seconds. Behind a pooler in transaction mode the server's own
   * setting decides. Default: `"full"`.
   */
  readonly durability?: "full" | "normal" | undefined
  /** How long finished jobs can be listed. `Duration.infinity` keeps them for ever. Default: not at all. */
  readonly history?: Duration.Input | undefined
  /** The largest body that is accepted, in bytes, up to 64 MiB. Default: 65535, beanstalkd's own. */
  readonly maxJobSize?: number | undefined
  /**
   * How long the server may be away before a worker's `reserve` fails. Default: forever. Everything else fails at
   * once while it is away.
   */
  readonly reconnectFor?: Duration.Input | undefined
  /**
   * Whether a pooler in transaction mode is in between. `"auto"` detects it. `"none"` requires sessions. Default:
   * `"auto"`.
   */
  readonly pooler?: Pooler | undefined
  /**
   * How often an idle worker polls. Default: 1 second, and 100 ms behind a pooler in transaction mode.
   */
  readonly poll?: Duration.Input | undefined
  /**
   * A URL of the same database without a pooler, for the session of each process that listens. The user, password and
   * database default to those of the other sessions.
   */
  readonly listen?: string | Redacted.Redacted | undefined
}

/**
 * A host, and its port. Default: 5432.
 *
 * @category models
 * @since 0.1.0
 */
export interface Host {
  readonly host: string
  readonly port?: number | undefined
}

/**
 * How the server is reached: by `url`, or by `hosts`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends BrokerOptions {
  /**
   * `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. If it has several hosts (`HOST:PORT,HOST:PORT`), the broker uses the
   * first that takes writes. The URL has no options: they are the fields beside it.
   */
  readonly url?: string | Redacted.Redacted | undefined
  /** The hosts, instead of the URL's. The broker uses the first that takes writes. */
  readonly hosts?: ReadonlyArray<Host> | undefined
  /** The user, if the URL names none. Default: `postgres`. */
  readonly user?: string | undefined
  /** The database, if the URL names none. Default: the user's name. */
  readonly database?: string | undefined
  /** The password, instead of the URL's. An Effect runs at every connect, for a password that changes. */
  readonly password?: Redacted.Redacted | Effect.Effect<Redacted.Redacted> | undefined
  /** How the server is authenticated. Default: `verify-full`, and `disable` on this machine. */
  readonly sslmode?: SslMode | undefined
  readonly tls?: TlsOptions | undefined
  /** How long opening a connection may take. Default: 5 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
}

/**
 * What a broker of this kind can and can't do. With the option `history` it has `keepsDone`, too.
 *
 * @category constants
 * @since 0.1.0
 */
export const features: Features = {
  resolution: "millisecond",
  canList: true,
  canBury: true,
  canMove: true,
  keepsReasons: true,
  keepsDone: false,
  keepsAttempts: true
}

/** How often an idle worker polls: with notifications, and behind a pooler, where there are none. */
const pollDirectMillis = 1000
const pollPooledMillis = 100

// -----------------------------------------------------------------------------
// Parts
// -----------------------------------------------------------------------------

const putting = (
  store: Store,
  puts: Puts,
  maxJobSize: number,
  inTransaction: (
    queue: string,
    requests: ReadonlyArray<PutRequest>
  ) => Effect.Effect<Option.Option<ReadonlyArray<Put>>>
): Pick<Broker["Service"], "put" | "putAll"> => {
  const putPortion = (queue: string) => (requests: ReadonlyArray<PutRequest>) =>
    Effect.match(store.putTogether(queue, requests), {
      onFailure: (error) => requests.map((): Put => Result.fail(error)),
      onSuccess: (ids) => ids.map((id): Put => Result.succeed(id))
    })
  const putFitting = (queue: string, requests: ReadonlyArray<PutRequest>): Effect.Effect<ReadonlyArray<Put>> =>
    Effect.flatMap(
      inTransaction(queue, requests),
      Option.match({
        onNone: () =>
          Effect.map(
            Effect.forEach(portions(requests), putPortion(queue), { concurrency: "unbounded" }),
            (results) => results.length === 1 ? results[0]! : results.flat()
          ),
        onSome: Effect.succeed
      })
    )
  return {
    put: (queue, request) => {
      const checked = Result.andThen(checkQueue(queue), Rules.checkSize(queue, request.body, maxJobSize))
      if (Result.isFailure(checked)) return Effect.fail(checked.failure)
      return Effect.flatMap(
        inTransaction(queue, [request]),
        Option.match({
          onNone: () => puts.one(queue, request),
          onSome: ([result]) => Effect.fromResult(result!)
        })
      )
    },
    putAll: (queue, requests) => {
      const checked = checkQueue(queue)
      if (Result.isFailure(checked)) return Effect.succeed(requests.map(() => Result.fail(checked.failure)))
      const sizes = requests.map(({ body }) => Rules.checkSize(queue, body, maxJobSize))
      const fitting = Checked.passed(requests, sizes)
      const put = fitting.length === 0 ? Effect.succeed([]) : putFitting(queue, fitting)
      return Effect.map(put, (results) => Checked.merge(sizes, results))
    }
  }
}

const consuming =
  (store: Store, enter: Effect.Effect<void>) =>
  (names: NonEmptyReadonlyArray<string>): Effect.Effect<Consumer, BrokerError, Scope.Scope> => {
    const begin = Effect.map(Queue.unbounded<Lease>(), (lostLeases) => {
      const consumer = new PostgresConsumer(store, Array.from(new Set(names)), lostLeases)
      store.consumers.add(consumer)
      return consumer
    })
    return Effect.fromResult(Result.all(names.map(checkQueue))).pipe(
      Effect.andThen(enter),
      Effect.andThen(Effect.acquireRelease(begin, (consumer) => consumer.end))
    )
  }

// -----------------------------------------------------------------------------
// Constructors
// -----------------------------------------------------------------------------

/** Uses a session for a moment. */
const onSession = <A>(
  servers: Servers.Servers,
  use: (run: Schema.Run) => Effect.Effect<A, BrokerError>
): Effect.Effect<A, BrokerError> =>
  Effect.scoped(Effect.flatMap(
    Servers.open(servers, { isShared: false, isDurable: true, isWatched: false }),
    (session) =>
      use((sql, parameters) =>
        Effect.mapError(session.query(sql, parameters), (error) => failure(servers.broker, servers.schema, error))
      )
  ))

const millis = (name: string, input: Duration.Input, limits: Parameters<typeof Reach.duration>[2]) =>
  Effect.map(Reach.duration(name, input, limits), Duration.toMillis)

/** The numbers of the options, checked. Times are in milliseconds. */
const limitsOf = Effect.fnUntraced(function*(options: BrokerOptions) {
  const { history = Duration.zero, poll, reconnectFor = Duration.infinity } = options
  return {
    maxJobSize: yield* Rules.checkMaxJobSize(options.maxJobSize, largestBody),
    patience: yield* millis("reconnectFor", reconnectFor, { minMillis: 0 }),
    poll: poll === undefined ? undefined : yield* millis("poll", poll, { minMillis: 10, isFinite: true }),
    keepMillis: Math.ceil(yield* millis("history", history, { minMillis: 0 }))
  }
})

/** Opens its session when it is needed, and closes it with the scope. */
const linkTo = (servers: Servers.Servers, scope: Scope.Scope, isDurable: boolean): Link =>
  new Link(
    {
      broker: servers.broker,
      schema: servers.schema,
      open: Servers.open(servers, { isShared: true, isDurable, isWatched: false }),
      hasOthers: servers.hosts.length > 1
    },
    scope
  )

/** Makes this process one that works, when it consumes first. */
const entering = (
  store: Store,
  presence: Presence,
  link: Link
): Effect.Effect<Effect.Effect<void>, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) =>
    Effect.suspend(() => {
      if (store.presence !== undefined) return Effect.void
      store.presence = presence
      const sweep = History.sweep(link.query, store.sql.forgetDone)
      return Effect.forEach(
        [presence.keep, presence.watch, store.waiters.run, sweep],
        (run) => Effect.forkIn(run, scope),
        { discard: true }
      )
    }))

/** Puts within the transaction of the program that the caller is in, if it is in one. */
const joining =
  (store: Store, transaction: ReturnType<typeof Transaction.current>) =>
  (queue: string, requests: ReadonlyArray<PutRequest>): Effect.Effect<Option.Option<ReadonlyArray<Put>>> =>
    Effect.flatMap(
      transaction,
      Option.match({
        onNone: () => Effect.succeedNone,
        onSome: (open) => Effect.asSome(store.putWithin(open, queue, requests))
      })
    )

const makeOn = Effect.fnUntraced(function*(
  { listening, servers }: Reach.Reach,
  options: BrokerOptions,
  client?: Driver.PgClient
): Effect.fn.Return<Services, BrokerError, Scope.Scope> {
  const { broker, schema } = servers
  const { pooling } = listening ?? servers
  const { keepMillis, maxJobSize, patience, poll } = yield* limitsOf(options)
  const can: Features = { ...features, keepsDone: keepMillis > 0 }
  // It closes last, so that a process that ends can still say so.
  const links = yield* Scope.fork(yield* Effect.scope)
  const link = linkTo(servers, links, options.durability !== "normal")
  const takeLink = linkTo(servers, links, false)
  yield* onSession(servers, (run) => Schema.prepare(broker, schema, run, options.migrate ?? true))

  const fork = yield* FiberSet.makeRuntime<never>()
  const clock = yield* Clock.Clock
  const transaction = Transaction.current(client)
  const store = new Store({
    broker,
    schema,
    link,
    takeLink,
    clock,
    patience,
    keepMillis,
    poll: () => poll ?? (pooling.isPooled ? pollPooledMillis : pollDirectMillis),
    transaction,
    fork: (effect) => void fork(effect)
  })
  const presence = new Presence({
    broker,
    schema,
    channel: Schema.channelOf(schema),
    sql: store.sql,
    open: Servers.open(listening ?? servers, { isShared: false, isDurable: false, isWatched: true }),
    pooling,
    isApart: listening !== undefined,
    link: takeLink,
    onPrimary: (host) => Effect.andThen(link.leaveOthers(host), takeLink.leaveOthers(host)),
    onNotified: store.onNotified,
    onLeasesLost: store.onLeasesLost,
    counts: () => store.waiters.counts()
  })
  yield* Effect.addFinalizer(() => Effect.andThen(presence.leave, Effect.andThen(link.close, takeLink.close)))
  const puts = new Puts((effect) => void fork(effect), store.putTogether)
  return {
    broker: {
      name: broker,
      features: can,
      ping: Effect.asVoid(link.query("SELECT 1")),
      ...putting(store, puts, maxJobSize, joining(store, transaction)),
      consume: consuming(store, yield* entering(store, presence, takeLink)),
      idleWorkers: (queue) => Inspection.idleWorkersOn(store, queue)
    },
    inspector: Inspection.make(store, can, maxJobSize, pooling)
  }
})

/**
 * Connects, migrates the schema, and makes a broker and its inspector.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Services, BrokerError, Scope.Scope> {
  return yield* makeOn(yield* Reach.ofOptions(options), options)
})

/**
 * Makes a broker on the server of a `PgClient`. A `put` within a transaction of that client is part of it; everything
 * else has connections of its own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeSql = Effect.fnUntraced(function*(
  options: BrokerOptions = {}
): Effect.fn.Return<Services, BrokerError, Scope.Scope | Driver.PgClient> {
  const client = yield* Driver.PgClient
  return yield* makeOn(yield* Reach.ofClient(client.config, options), options, client)
})

// -----------------------------------------------------------------------------
// Migrations
// -----------------------------------------------------------------------------

/**
 * Roles of the server, and what they may do in the schema.
 *
 * @category models
 * @since 0.1.0
 */
export interface Roles {
  /** Roles that publish, work and operate. They can't change the schema. */
  readonly workers?: ReadonlyArray<string> | undefined
  /** Roles that publish. They can't read, run or delete a job. */
  readonly publishers?: ReadonlyArray<string> | undefined
}

/**
 * The result of a migration.
 *
 * @category models
 * @since 0.1.0
 */
export interface Migrated {
  readonly schema: string
  /** Its version before; 0 if there was no schema. */
  readonly from: number
  readonly to: number
}

/**
 * Brings a schema up to date, and grants roles their rights in it. If nothing is missing it changes nothing. It refuses
 * a schema of a newer version.
 *
 * @category functions
 * @since 0.1.0
 */
export const migrate = Effect.fnUntraced(function*(
  options: Options & Roles
): Effect.fn.Return<Migrated, BrokerError> {
  const roles = yield* Grants.check(options)
  const { servers } = yield* Reach.ofOptions(options)
  const { broker, schema } = servers
  const migrated = yield* onSession(servers, (run) => Schema.migrate(broker, schema, run, roles))
  return { schema, ...migrated }
})

/**
 * What {@link migrate} would do, as a script for psql. It works on a schema of any version, and can be run again.
 *
 * @category functions
 * @since 0.1.0
 */
export const migrationScript = Effect.fnUntraced(function*(
  options: Roles & { readonly schema?: string | undefined } = {}
): Effect.fn.Return<string, BrokerError> {
  const roles = yield* Grants.check(options)
  return Schema.script(yield* Schema.checkSchema(options.schema ?? Schema.defaultSchema), roles)
})

// -----------------------------------------------------------------------------
// Layers
// -----------------------------------------------------------------------------

/**
 * The broker at a URL.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Broker | Inspector, BrokerError> => Shared.layer(make(options))

/**
 * The broker with options from the configuration: each is a `Config`, as in
 * `layerConfig({ url: Config.Redacted("DATABASE_URL") })`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Broker | Inspector, BrokerError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))

/**
 * The broker on the server of a `PgClient` that the program has: a publish within `sql.withTransaction` is part of the
 * transaction. The job exists if and only if it committed.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSql = (
  options: BrokerOptions = {}
): Layer.Layer<Broker | Inspector, BrokerError, Driver.PgClient> => Shared.layer(makeSql(options))

// -----------------------------------------------------------------------------
// Transactions
// -----------------------------------------------------------------------------

export { done } from "./done.ts"
export {
  type DrizzleSql,
  type DrizzleTransaction,
  type Executor,
  fromDrizzle,
  fromKysely,
  fromPg,
  fromPostgres,
  type KyselyTransaction,
  type PgTransaction,
  type PostgresTransaction
} from "./executors.ts"
export { within } from "./transaction.ts"
