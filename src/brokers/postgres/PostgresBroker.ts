/**
 * The {@link Broker} in a database of PostgreSQL: the same jobs for any number
 * of machines, on a server that has backups, replicas and an owner.
 *
 * Its semantics are beanstalkd's, in milliseconds instead of seconds. What was
 * answered is committed, and on disk where the server's settings say so. With
 * {@link layerSql} a publish within a transaction of the program's own client
 * is part of it: the job exists if and only if the transaction committed.
 *
 * A job of this process starts at once, one of another process within
 * milliseconds (or within a second, where its notification was lost). The jobs
 * of a killed worker are ready again about a second after its session ended.
 *
 * A reserve does not wait for the disk: a crash of the server may undo the last half second of them. The job is ready
 * again, and its holder's settlement fails with `LeaseLost`.
 *
 * Limits: three connections for each process that works, one for each that
 * only publishes; none of them through a pooler in transaction mode. Time is
 * the server's wall clock. Jobs that are done are not kept.
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
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { type Broker, checkQueue, type Consumer, type Features, type Lease, type PutRequest } from "../../Broker.ts"
import { type BrokerError, optionInvalid } from "../../BrokerError.ts"
import type { Inspector, Services } from "../../Inspector.ts"
import * as OptionRules from "../../internal/options.ts"
import * as PostgresUrl from "../../internal/postgresUrl.ts"
import { Rules, Services as Shared } from "../shared/index.ts"
import { PostgresConsumer } from "./consumer.ts"
import * as Driver from "./driver.ts"
import { failure } from "./failure.ts"
import * as Inspection from "./inspector.ts"
import { Link } from "./link.ts"
import { Presence } from "./presence.ts"
import { portions, type Put, Puts } from "./puts.ts"
import * as Schema from "./schema.ts"
import * as Servers from "./servers.ts"
import { channelOf, Store } from "./store.ts"

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
 * What every broker of this kind is told, however it connects.
 *
 * @category models
 * @since 0.1.0
 */
export interface BrokerOptions {
  /** The schema that has the jobs. It is created where there is none. Default: `backq`. */
  readonly schema?: string | undefined
  /** Is the schema created and brought up to date by this program? Default: yes. */
  readonly migrate?: boolean | undefined
  /**
   * What an acknowledged operation survives: a crash of the server, or with `"normal"` only one of its programs; such
   * a crash may undo the last half second. Default: `"full"`.
   */
  readonly durability?: "full" | "normal" | undefined
  /** The largest body that is accepted, in bytes, up to 64 MiB. Default: 65535, beanstalkd's own. */
  readonly maxJobSize?: number | undefined
  /**
   * How long the server may be away before a worker's `reserve` fails. Default: for ever. Everything else fails at
   * once while it is away.
   */
  readonly reconnectFor?: Duration.Input | undefined
}

/**
 * How the server is reached.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends BrokerOptions {
  /**
   * `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. Of several hosts (`HOST:PORT,HOST:PORT`) the first that takes writes
   * is used. Has no options: they are the fields beside it.
   */
  readonly url: string | Redacted.Redacted
  /** The password, instead of the URL's; an Effect is asked at every connect, for one that changes. */
  readonly password?: Redacted.Redacted | Effect.Effect<Redacted.Redacted> | undefined
  /** How the server is made sure of. Default: `verify-full`, and `disable` on this machine. */
  readonly sslmode?: SslMode | undefined
  readonly tls?: TlsOptions | undefined
  /** How long a connection may take to be made. Default: 5 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
}

/**
 * What a broker of this kind can and can't do.
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
  keepsDone: false
}

const largestBody = 64 * 1024 * 1024

const checkMaxJobSize = (bytes: number): Effect.Effect<number, BrokerError> => {
  const rule = OptionRules.integer(bytes, 1, largestBody, "bytes")
  return rule === undefined
    ? Effect.succeed(bytes)
    : Effect.fail(optionInvalid("maxJobSize (max-job-size in the URL)", rule))
}

const checkDuration = (
  option: string,
  input: Duration.Input,
  limits: OptionRules.DurationLimits
): Effect.Effect<Duration.Duration, BrokerError> =>
  Effect.mapError(Effect.fromResult(OptionRules.readDuration(input, limits)), (rule) => optionInvalid(option, rule))

// -----------------------------------------------------------------------------
// Parts
// -----------------------------------------------------------------------------

/** The transaction that a put is part of, if its caller is in one. */
type Transaction = Effect.Effect<Option.Option<Driver.Query>>

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
            (results) => results.flat()
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
      const fitting = requests.filter((_, i) => Result.isSuccess(sizes[i]!))
      const put = fitting.length === 0 ? Effect.succeed([]) : putFitting(queue, fitting)
      return Effect.map(put, (results) => {
        let next = 0
        return sizes.map((size): Put => Result.flatMap(size, () => results[next++]!))
      })
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

const makeOn = Effect.fnUntraced(function*(
  servers: Servers.Servers,
  options: BrokerOptions,
  transaction: Transaction
): Effect.fn.Return<Services, BrokerError, Scope.Scope> {
  const { broker, schema } = servers
  const maxJobSize = yield* checkMaxJobSize(options.maxJobSize ?? Rules.defaultMaxJobSize)
  const patience = yield* checkDuration("reconnectFor", options.reconnectFor ?? Duration.infinity, { minMillis: 0 })
  const scope = yield* Effect.scope
  const isDurable = options.durability !== "normal"
  const linkOf = (isDurable: boolean) =>
    new Link(
      { broker, schema, open: Servers.open(servers, { isShared: true, isDurable, isWatched: false }) },
      scope
    )
  const link = linkOf(isDurable)
  const takeLink = linkOf(false)
  yield* Effect.scoped(Effect.gen(function*() {
    const session = yield* Servers.open(servers, { isShared: false, isDurable: true, isWatched: false })
    const run = (sql: string, parameters?: ReadonlyArray<unknown>) =>
      Effect.mapError(session.query(sql, parameters), (error) => failure(broker, schema, error))
    yield* Schema.prepare(broker, schema, run, options.migrate ?? true)
  }))

  const fork = yield* FiberSet.makeRuntime<never>()
  const clock = yield* Clock.Clock
  const store = new Store({
    broker,
    schema,
    link,
    takeLink,
    clock,
    patience: Duration.toMillis(patience),
    fork: (effect) => void fork(effect)
  })
  const presence = new Presence({
    broker,
    schema,
    channel: channelOf(schema),
    sql: store.sql,
    open: Servers.open(servers, { isShared: false, isDurable: true, isWatched: true }),
    link: takeLink,
    told: store.told,
    lost: store.lost,
    counts: () => store.waiters.counts()
  })
  yield* Effect.addFinalizer(() => Effect.andThen(presence.leave, Effect.andThen(link.close, takeLink.close)))
  const enter = Effect.suspend(() => {
    if (store.presence !== undefined) return Effect.void
    store.presence = presence
    return Effect.forEach([presence.keep, presence.watch, store.waiters.run], (run) => Effect.forkIn(run, scope), {
      discard: true
    })
  })
  const puts = new Puts((effect) => void fork(effect), store.putTogether)
  const inTransaction = (queue: string, requests: ReadonlyArray<PutRequest>) =>
    Effect.flatMap(
      transaction,
      Option.match({
        onNone: () => Effect.succeedNone,
        onSome: (query) => Effect.asSome(store.putWithin(query, queue, requests))
      })
    )
  return {
    broker: {
      name: broker,
      features,
      ping: Effect.asVoid(link.query("SELECT 1")),
      ...putting(store, puts, maxJobSize, inTransaction),
      consume: consuming(store, enter),
      idleWorkers: (queue) => Inspection.idleWorkersOn(store, queue)
    },
    inspector: Inspection.make(store, features, maxJobSize)
  }
})

const nameOf = (hosts: ReadonlyArray<PostgresUrl.Host>, database: string | undefined, schema: string): string =>
  `postgres://${hosts.map(({ host, port }) => `${host.includes(":") ? `[${host}]` : host}:${port}`).join(",")}/${
    database ?? ""
  }${schema === Schema.defaultSchema ? "" : `?schema=${schema}`}`

const readUrl = (url: string): Effect.Effect<PostgresUrl.Address, BrokerError> =>
  Effect.mapError(
    Effect.fromResult(Result.flatMap(
      PostgresUrl.parse(url),
      (address) =>
        address.query.size === 0
          ? Result.succeed(address)
          : Result.fail("it must have no options: give them beside it, or use backq/broker-url")
    )),
    (rule) => optionInvalid("url", `must be a URL of PostgreSQL: ${rule}`)
  )

/**
 * Connects, brings the schema up to date, and makes a broker and its inspector. Fails with what keeps it from that.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Services, BrokerError, Scope.Scope> {
  const { database, hosts, password, user } = yield* readUrl(
    Redacted.isRedacted(options.url) ? Redacted.value(options.url) : options.url
  )
  const schema = yield* Schema.checkSchema(options.schema ?? Schema.defaultSchema)
  const fromEnvironment = yield* Effect.option(Config.Redacted("PGPASSWORD"))
  return yield* makeOn(
    {
      broker: nameOf(hosts, database, schema),
      schema,
      hosts,
      user,
      password: options.password ?? password ?? Option.getOrUndefined(fromEnvironment),
      database,
      tls: (host) => Servers.tlsOf(options.sslmode ?? Servers.defaultMode(host), options.tls ?? {}, host),
      connectTimeout: yield* checkDuration("connectTimeout", options.connectTimeout ?? "5 seconds", {
        isPositive: true
      })
    },
    options,
    Effect.succeedNone
  )
})

/** What opens the connections of a client, as servers. Its own pool is used for its transactions only. */
const serversOf = Effect.fnUntraced(function*(config: Driver.ClientConfig, schema: string) {
  const url = config.url === undefined ? undefined : Redacted.value(config.url)
  const address = url === undefined ? undefined : yield* Effect.mapError(
    Effect.fromResult(PostgresUrl.parse(url)),
    (rule) => optionInvalid("the client's url", rule)
  )
  const first = address?.hosts[0]
  const host = {
    host: config.path ?? config.host ?? first?.host ?? "localhost",
    port: config.port ?? first?.port ?? 5432
  }
  const database = config.database ?? address?.database
  const mode = address?.query.get("sslmode") ?? "disable"
  const ssl = config.ssl ?? mode !== "disable"
  return {
    broker: nameOf([host], database, schema),
    schema,
    hosts: [host],
    user: config.username ?? address?.user,
    password: config.password ?? address?.password,
    database,
    tls: (host: string) => ssl === false ? undefined : { host, ...(ssl === true ? {} : ssl) },
    connectTimeout: yield* checkDuration("the client's connectTimeout", config.connectTimeout ?? "5 seconds", {
      isPositive: true
    })
  }
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
  const schema = yield* Schema.checkSchema(options.schema ?? Schema.defaultSchema)
  return yield* makeOn(yield* serversOf(client.config, schema), options, Driver.transactionOf(client))
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
 * The broker on the server of a `PgClient` that the program has: a publish within `sql.withTransaction` is part of the
 * transaction. The job exists if and only if it committed.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSql = (
  options: BrokerOptions = {}
): Layer.Layer<Broker | Inspector, BrokerError, Driver.PgClient> => Shared.layer(makeSql(options))
