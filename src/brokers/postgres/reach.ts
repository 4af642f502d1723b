/** Reads where the servers are and how they are reached: from options, or from a program's own client. */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { type BrokerError, optionInvalid } from "../../BrokerError.ts"
import * as OptionRules from "../../internal/options.ts"
import * as PostgresUrl from "../../internal/postgresUrl.ts"
import type * as Driver from "./driver.ts"
import * as Pooling from "./pooling.ts"
import * as Schema from "./schema.ts"
import * as Servers from "./servers.ts"

/** What is said of the way to any server. */
interface Way {
  readonly schema?: string | undefined
  readonly pooler?: Pooling.Mode | undefined
  readonly listen?: string | Redacted.Redacted | undefined
}

/** What is said of servers by name. */
interface Named extends Way {
  readonly url?: string | Redacted.Redacted | undefined
  readonly hosts?: ReadonlyArray<{ readonly host: string; readonly port?: number | undefined }> | undefined
  readonly user?: string | undefined
  readonly database?: string | undefined
  readonly password?: Driver.Target["password"]
  readonly sslmode?: Servers.SslMode | undefined
  readonly tls?: Servers.TlsOptions | undefined
  readonly connectTimeout?: Duration.Input | undefined
}

/** The servers of a broker. */
export interface Reach {
  readonly servers: Servers.Servers
  /** Those of the listening session, where it has its own. */
  readonly listening: Servers.Servers | undefined
}

/** Reads a duration. */
export const duration = (
  option: string,
  input: Duration.Input,
  limits: OptionRules.DurationLimits
): Effect.Effect<Duration.Duration, BrokerError> =>
  Effect.mapError(Effect.fromResult(OptionRules.readDuration(input, limits)), (rule) => optionInvalid(option, rule))

const connectTimeoutOf = (option: string, input: Duration.Input | undefined) =>
  duration(option, input ?? "5 seconds", { isPositive: true })

const nameOf = (hosts: ReadonlyArray<PostgresUrl.Host>, database: string | undefined, schema: string): string =>
  `postgres://${hosts.map(Servers.nameOf).join(",")}/${database ?? ""}${
    schema === Schema.defaultSchema ? "" : `?schema=${schema}`
  }`

const textOf = (url: string | Redacted.Redacted): string => Redacted.isRedacted(url) ? Redacted.value(url) : url

const readUrl = (option: string, url: string | Redacted.Redacted): Effect.Effect<PostgresUrl.Address, BrokerError> =>
  Effect.mapError(
    Effect.fromResult(Result.flatMap(
      PostgresUrl.parse(textOf(url)),
      (address) =>
        address.query.size === 0
          ? Result.succeed(address)
          : Result.fail("it must have no options: give them beside it, or use backq/broker-url")
    )),
    (rule) => optionInvalid(option, `must be a URL of PostgreSQL: ${rule}`)
  )

const poolerOf = (broker: string, mode: unknown): Effect.Effect<Pooling.Pooling, BrokerError> => {
  const known = Pooling.modes.find((one) => one === (mode ?? "auto"))
  return known === undefined
    ? Effect.fail(optionInvalid("pooler", OptionRules.mustBe("auto, none or transaction", mode)))
    : Effect.succeed(new Pooling.Pooling(broker, known))
}

/** The servers of the listening session: as the others, but for what its URL says. */
const listeningOf = Effect.fnUntraced(function*(servers: Servers.Servers, { listen }: Way) {
  if (listen === undefined) return undefined
  const { database, hosts, password, user } = yield* readUrl("listen", listen)
  return {
    ...servers,
    hosts,
    user: user ?? servers.user,
    password: password ?? servers.password,
    database: database ?? servers.database,
    pooling: new Pooling.Pooling(servers.broker, "auto")
  }
})

const hostOf = (
  { host, port = PostgresUrl.defaultPort }: NonNullable<Named["hosts"]>[number]
): Effect.Effect<PostgresUrl.Host, BrokerError> => {
  if (typeof host !== "string" || host === "") {
    return Effect.fail(optionInvalid("hosts", `must have a name or address as host, not ${JSON.stringify(host)}`))
  }
  const rule = OptionRules.integer(port, 1, 65_535)
  return rule === undefined ? Effect.succeed({ host, port }) : Effect.fail(optionInvalid("the port of a host", rule))
}

const addressOf = Effect.fnUntraced(function*(
  { hosts, url }: Named
): Effect.fn.Return<Partial<PostgresUrl.Address> & Pick<PostgresUrl.Address, "hosts">, BrokerError> {
  if (url !== undefined && hosts === undefined) return yield* readUrl("url", url)
  if (url === undefined && hosts !== undefined && hosts.length > 0) {
    return { hosts: yield* Effect.forEach(hosts, hostOf) }
  }
  return yield* optionInvalid("url", "or hosts must be given, and only one of them")
})

/** The servers that options name. */
export const ofOptions = Effect.fnUntraced(function*(options: Named): Effect.fn.Return<Reach, BrokerError> {
  const address = yield* addressOf(options)
  const schema = yield* Schema.checkSchema(options.schema ?? Schema.defaultSchema)
  const fromEnvironment = yield* Effect.option(Config.Redacted("PGPASSWORD"))
  const database = address.database ?? options.database
  const broker = nameOf(address.hosts, database, schema)
  const servers: Servers.Servers = {
    broker,
    schema,
    hosts: address.hosts,
    user: address.user ?? options.user,
    password: options.password ?? address.password ?? Option.getOrUndefined(fromEnvironment),
    database,
    tls: (host) => Servers.tlsOf(options.sslmode ?? Servers.defaultMode(host), options.tls ?? {}, host),
    connectTimeout: yield* connectTimeoutOf("connectTimeout", options.connectTimeout),
    pooling: yield* poolerOf(broker, options.pooler)
  }
  return { servers, listening: yield* listeningOf(servers, options) }
})

/** The server of a program's client. Its own pool is used for its transactions only. */
export const ofClient = Effect.fnUntraced(function*(
  config: Driver.ClientConfig,
  way: Way
): Effect.fn.Return<Reach, BrokerError> {
  const schema = yield* Schema.checkSchema(way.schema ?? Schema.defaultSchema)
  const url = config.url === undefined ? undefined : Redacted.value(config.url)
  const address = url === undefined ? undefined : yield* Effect.mapError(
    Effect.fromResult(PostgresUrl.parse(url)),
    (rule) => optionInvalid("the client's url", rule)
  )
  const first = address?.hosts[0]
  const host = {
    host: config.path ?? config.host ?? first?.host ?? "localhost",
    port: config.port ?? first?.port ?? PostgresUrl.defaultPort
  }
  const database = config.database ?? address?.database
  const ssl = config.ssl ?? (address?.query.get("sslmode") ?? "disable") !== "disable"
  const broker = nameOf([host], database, schema)
  const servers: Servers.Servers = {
    broker,
    schema,
    hosts: [host],
    user: config.username ?? address?.user,
    password: config.password ?? address?.password,
    database,
    tls: (host) => ssl === false ? undefined : { host, ...(ssl === true ? {} : ssl) },
    connectTimeout: yield* connectTimeoutOf("the client's connectTimeout", config.connectTimeout),
    pooling: yield* poolerOf(broker, way.pooler)
  }
  return { servers, listening: yield* listeningOf(servers, way) }
})
