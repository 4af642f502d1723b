/**
 * Picks a broker by its URL. No other module picks a broker by name.
 *
 * | URL | broker |
 * |---|---|
 * | `memory:` | in this process, and lost when it ends |
 * | `sqlite:PATH` | in a file. A missing file is created. Default path: `./backq.db`. In the path, `%3F` is `?` and `%25` is `%` |
 * | `beanstalk://HOST:PORT` | beanstalkd. Default port: 11300 |
 * | `beanstalks://HOST:PORT?ca=FILE&cert=FILE&key=FILE&servername=NAME` | beanstalkd behind TLS |
 * | `postgres://USER:PASSWORD@HOST:PORT/DATABASE` | a schema in a database of PostgreSQL; several hosts are separated by commas |
 *
 * The options stand in the query:
 *
 * | option | for | value |
 * |---|---|---|
 * | `max-job-size` | `memory:`, `sqlite:`, `postgres:` | bytes |
 * | `durability` | `sqlite:`, `postgres:` | `full` or `normal` |
 * | `busy-timeout` | `sqlite:` | a duration |
 * | `history` | `sqlite:`, `postgres:` | a duration: how long finished jobs are kept |
 * | `reconnect-for` | `sqlite:`, both forms of beanstalkd, `postgres:` | a duration |
 * | `connect-timeout` | both forms of beanstalkd, `postgres:` | a duration |
 * | `reply-timeout` | both forms of beanstalkd | a duration |
 * | `min-version` | `beanstalks:` | `TLSv1.2` or `TLSv1.3` |
 * | `schema` | `postgres:` | the schema that has the jobs |
 * | `migrate` | `postgres:` | `true` or `false` |
 * | `pooler` | `postgres:` | `auto`, `none` or `transaction` |
 * | `poll` | `postgres:` | a duration: how often a worker that is told of no jobs looks for them |
 * | `listen` | `postgres:` | a URL of the same database without a pooler, percent-encoded |
 * | `sslmode` | `postgres:` | `disable`, `require`, `verify-ca` or `verify-full` |
 * | `ca`, `cert`, `key` | `postgres:` | names of files |
 *
 * A duration is `10s`, `500ms` or `2 minutes`. The code of a broker is loaded when its URL is used.
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Broker } from "../Broker.ts"
import { type BrokerError, optionInvalid } from "../BrokerError.ts"
import type { Inspector } from "../Inspector.ts"
import * as PostgresUrl from "../internal/postgresUrl.ts"
import { clip, maxReasonChars, safeLine, safeName } from "../internal/text.ts"
import { messageOfThrown } from "../internal/thrown.ts"
import type { Connection } from "./beanstalk/index.ts"
import type { PostgresBroker } from "./postgres/index.ts"
import type { SqliteBroker } from "./sqlite/index.ts"

/**
 * The URL does not name a broker, or needs something that is missing here.
 *
 * @category errors
 * @since 0.1.0
 */
export class BrokerUrlError extends Schema.TaggedError<BrokerUrlError>()("BrokerUrlError", {
  url: Schema.String,
  detail: Schema.String,
  /** Set if the URL itself is right, and a file or package that it needs is missing. */
  namesBroker: Schema.optionalKey(Schema.Literal(true))
}) {
  override get message() {
    const detail = safeLine(clip(this.detail, maxReasonChars))
    if (this.namesBroker === true) return `"${safeName(this.url)}" can't be used: ${detail}`
    return `"${safeName(this.url)}" is not a broker's URL: ${detail}. ` +
      `Write sqlite:PATH, beanstalk://HOST:PORT, beanstalks://HOST:PORT (TLS), postgres://HOST/DATABASE or memory:`
  }
}

/**
 * A parsed URL.
 *
 * @category models
 * @since 0.1.0
 */
export type Parsed =
  | { readonly _tag: "Memory"; readonly maxJobSize?: number }
  | {
    readonly _tag: "Sqlite"
    readonly path: string
    readonly durability: SqliteBroker.Durability | undefined
    readonly busyTimeout: Duration.Duration | undefined
    readonly history: Duration.Duration | undefined
    readonly maxJobSize?: number
    readonly reconnectFor?: Duration.Duration
  }
  | {
    readonly _tag: "Beanstalk"
    readonly host: string
    readonly port: number
    /** `ca`, `cert` and `key` are names of PEM files. */
    readonly tls: { readonly [Field in "ca" | "cert" | "key" | "servername" | "minVersion"]?: string } | undefined
    readonly connectTimeout: Duration.Duration | undefined
    readonly replyTimeout: Duration.Duration | undefined
    readonly reconnectFor: Duration.Duration | undefined
  }
  | {
    readonly _tag: "Postgres"
    /** Without its query. */
    readonly url: Redacted.Redacted
    readonly hosts: ReadonlyArray<PostgresUrl.Host>
    readonly schema: string | undefined
    readonly migrate: boolean
    readonly durability: "full" | "normal" | undefined
    readonly history: Duration.Duration | undefined
    readonly sslmode: PostgresBroker.SslMode | undefined
    readonly pooler?: PostgresBroker.Pooler
    readonly poll?: Duration.Duration
    readonly listen?: Redacted.Redacted
    /** Names of files. */
    readonly tls: { readonly [Field in "ca" | "cert" | "key"]?: string }
    readonly maxJobSize?: number
    readonly connectTimeout: Duration.Duration | undefined
    readonly reconnectFor: Duration.Duration | undefined
  }

/**
 * The URL of the broker if none is given.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultUrl = "sqlite:./backq.db"

/** More than a URL with four paths of the longest kind needs. Parsing takes more than linear time, so it needs a limit. */
const maxUrlChars = 20_000

const durationParameters = ["connect-timeout", "reply-timeout", "reconnect-for"] as const
/** With 0, every attempt would fail. */
const mustLast: ReadonlySet<string> = new Set(["connect-timeout", "reply-timeout", "poll"])
const tlsParameters = ["ca", "cert", "key", "servername", "min-version"] as const

const units: Record<string, Duration.Unit> = {
  ms: "millis",
  s: "seconds",
  m: "minutes",
  h: "hours",
  d: "days"
}

/**
 * Parses `500ms`, `10s`, `5m`, `2h`, `1d`, and all forms of `Duration.Input` that are text, such as `10 seconds`.
 *
 * @category functions
 * @since 0.1.0
 */
export const parseDuration = (text: string): Option.Option<Duration.Duration> => {
  const short = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/.exec(text.trim())
  return Duration.fromInput((short === null ? text.trim() : `${short[1]} ${units[short[2]!]}`) as Duration.Input)
}

/** A password that stands in front of the query: in `DATABASE&password=...`, or in a list of words for libpq. */
const assignedPassword = /^([^?]*?(?:password|passwd|pass|pwd)\s*=)[^?]*/is

/**
 * Hides all up to the last `@`, which may be percent-encoded, and a password that is assigned in front of the query. A
 * path may contain an `@`, and is shown.
 */
const withoutUser = (input: string): string =>
  /^(sqlite|memory):(?!\/\/)/i.test(input)
    ? input
    : input.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*(?:@|%40)/is, "$1…@").replace(assignedPassword, "$1…")

/** Whether an option holds the content of a key or certificate file instead of its name. */
const isPem = (text: string): boolean => text.includes("-----BEGIN") || /^MI[A-Za-z0-9+/=\s]{60}/.test(text)

/** An option of a URL. A value that may be a secret is hidden. */
const withoutValue = (option: string, isFile: boolean): string => {
  const [name = "", value = ""] = option.split(/=(.*)/s)
  const mayBeSecret = isFile && /^(ca|cert|key)$/.test(name)
    ? isPem(value.replaceAll("%20", " "))
    : /pass|pwd|secret|token|auth|cred|key|^listen$/i.test(name)
  return mayBeSecret ? `${name}=…` : option
}

/**
 * Hides what may be a password: all between the scheme and the last `@`, and the
 * value of each option whose name suggests a secret.
 */
const withoutSecret = (input: string): string => {
  const [url = "", query] = withoutUser(input).split(/\?(.*)/s)
  if (query === undefined) return url
  const isFile = /^(beanstalks|postgres(ql)?):/i.test(url)
  return `${url}?${query.split("&").map((option) => withoutValue(option, isFile)).join("&")}`
}

const noUsers = "beanstalkd has no users and passwords: leave out the part that ends with @"
const oneServer = "it must name one server, but names several: give one"

const isHostAndPort = (input: string): boolean => /^[a-z0-9.-]+:\d{1,5}$/i.test(input)

const quoted = (text: string): string => JSON.stringify(text)

type Fail = (detail: string) => Result.Result<never, BrokerUrlError>

/** Fails if a query has an option that is not allowed, or one twice. */
const checkNames = (
  query: URLSearchParams,
  allowed: ReadonlyArray<string>,
  fail: Fail
): Result.Result<void, BrokerUrlError> => {
  const names = Array.from(query.keys())
  const unknown = names.find((name) => !allowed.includes(name))
  if (unknown !== undefined) return fail(`there is no option ${quoted(unknown)}, only ${allowed.join(", ")}`)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  return twice === undefined ? Result.void : fail(`${twice} must be given once, but is given twice: leave one out`)
}

const durationOf = (
  query: URLSearchParams,
  name: string,
  fail: Fail
): Result.Result<Duration.Duration | undefined, BrokerUrlError> => {
  const text = query.get(name)
  if (text === null) return Result.succeed(undefined)
  return Option.match(parseDuration(text), {
    onNone: () => fail(`${name} must be a duration such as 10s, 500ms or 5 minutes`),
    onSome: (duration) => {
      if (Duration.isNegative(duration)) return fail(`${name} must not be negative`)
      return Duration.isZero(duration) && mustLast.has(name)
        ? fail(`${name} must be more than 0`)
        : Result.succeed(duration)
    }
  })
}

/** The `max-job-size` of a broker in this process. */
const maxJobSizeOf = (
  query: URLSearchParams,
  fail: Fail
): Result.Result<{ readonly maxJobSize?: number }, BrokerUrlError> => {
  const text = query.get("max-job-size")
  if (text === null) return Result.succeed({})
  const maxJobSize = /^\d+$/.test(text) ? Number(text) : 0
  return Number.isSafeInteger(maxJobSize) && maxJobSize > 0
    ? Result.succeed({ maxJobSize })
    : fail("max-job-size must be an integer number of bytes of at least 1")
}

/** One of some words, or none. */
const wordOf = <Word extends string>(
  query: URLSearchParams,
  name: string,
  words: ReadonlyArray<Word>,
  fail: Fail
): Result.Result<Word | undefined, BrokerUrlError> => {
  const text = query.get(name)
  const word = words.find((word) => word === text)
  return text === null || word !== undefined
    ? Result.succeed(word)
    : fail(`${name} must be ${words.slice(0, -1).join(", ")} or ${words.at(-1)}`)
}

/** The options that name files of PEM. */
const pemFiles = ["ca", "cert", "key"] as const

const checkPemFiles = (query: URLSearchParams, fail: Fail): Result.Result<void, BrokerUrlError> => {
  const contents = pemFiles.find((name) => isPem(query.get(name) ?? ""))
  return contents === undefined
    ? Result.void
    : fail(`${contents} must be the name of a file, not its content: save the content to a file`)
}

const parseMemory = (rest: string, fail: Fail): Result.Result<Parsed, BrokerUrlError> => {
  const [path, search] = rest.split(/\?(.*)/s)
  if (path !== "") return fail("memory: takes no path: for a file write sqlite:PATH")
  const query = new URLSearchParams(search)
  return checkNames(query, ["max-job-size"], fail).pipe(
    Result.andThen(maxJobSizeOf(query, fail)),
    Result.map((limit) => ({ _tag: "Memory", ...limit }))
  )
}

/** Decodes `%` and two hex digits in a path. Any other `%` stands for itself. */
const decodePath = (path: string, fail: Fail): Result.Result<string, BrokerUrlError> => {
  const decoded = Result.try({
    try: () => path.replace(/(?:%[0-9a-f]{2})+/gi, decodeURIComponent),
    catch: () => undefined
  })
  if (Result.isFailure(decoded)) {
    return fail("the path must be percent-encoded as UTF-8, but is not in UTF-8: write % as %25")
  }
  if (decoded.success.includes("\0")) return fail("the path must not contain NUL: leave out %00")
  return Result.succeed(decoded.success)
}

const parseSqlite = (rest: string, fail: Fail): Result.Result<Parsed, BrokerUrlError> => {
  const [encoded = "", search] = rest.split(/\?(.*)/s)
  if (encoded === ":memory:") return fail("for jobs in memory write memory:")
  if (encoded.startsWith("//")) return fail("a file has no host: write sqlite:PATH")
  if (/^~[^/]*\//.test(encoded)) {
    return fail("only a shell replaces ~: write the home folder in full, or ./~ for a folder of that name")
  }
  const path = decodePath(encoded, fail)
  if (Result.isFailure(path)) return Result.fail(path.failure)
  const query = new URLSearchParams(search)
  const names = checkNames(
    query,
    ["durability", "busy-timeout", "history", "max-job-size", "reconnect-for"],
    (detail) => fail(`${detail}; write a ? in the path as %3F`)
  )
  if (Result.isFailure(names)) return Result.fail(names.failure)
  const options = Result.all([
    wordOf(query, "durability", ["full", "normal"], fail),
    durationOf(query, "busy-timeout", fail),
    durationOf(query, "history", fail),
    maxJobSizeOf(query, fail),
    durationOf(query, "reconnect-for", fail)
  ])
  return Result.map(options, ([durability, busyTimeout, history, limit, reconnectFor]) => ({
    _tag: "Sqlite",
    path: path.success === "" ? "./backq.db" : path.success,
    durability,
    busyTimeout,
    history,
    ...limit,
    ...(reconnectFor === undefined ? {} : { reconnectFor })
  }))
}

const sslModes = ["disable", "require", "verify-ca", "verify-full"] as const

const postgresParameters = [
  "schema",
  "migrate",
  "durability",
  "history",
  "max-job-size",
  "connect-timeout",
  "reconnect-for",
  "pooler",
  "poll",
  "listen",
  "sslmode",
  "ca",
  "cert",
  "key"
]

const parsePostgres = (input: string, fail: Fail): Result.Result<Parsed, BrokerUrlError> => {
  const read = PostgresUrl.parse(input)
  if (Result.isFailure(read)) return fail(read.failure)
  const { hosts, query } = read.success
  const names = checkNames(query, postgresParameters, fail)
  if (Result.isFailure(names)) return Result.fail(names.failure)
  const contents = checkPemFiles(query, fail)
  if (Result.isFailure(contents)) return Result.fail(contents.failure)
  const files = pemFiles.flatMap((name) => query.has(name) ? [[name, query.get(name)!]] : [])
  const listen = query.get("listen")
  const listening = listen === null ? undefined : PostgresUrl.parse(listen)
  if (listening !== undefined && (Result.isFailure(listening) || listening.success.query.size > 0)) {
    return fail("listen must be a URL of PostgreSQL without options, percent-encoded: postgres%3A%2F%2FHOST%3A5432")
  }
  return Result.map(
    Result.all({
      migrate: wordOf(query, "migrate", ["true", "false"], fail),
      durability: wordOf(query, "durability", ["full", "normal"], fail),
      history: durationOf(query, "history", fail),
      sslmode: wordOf(query, "sslmode", sslModes, fail),
      pooler: wordOf(query, "pooler", ["auto", "none", "transaction"], fail),
      poll: durationOf(query, "poll", fail),
      limit: maxJobSizeOf(query, fail),
      connectTimeout: durationOf(query, "connect-timeout", fail),
      reconnectFor: durationOf(query, "reconnect-for", fail)
    }),
    ({ limit, migrate, poll, pooler, ...options }): Parsed => ({
      _tag: "Postgres",
      url: Redacted.make(input.split("?")[0]!),
      hosts,
      schema: query.get("schema") ?? undefined,
      migrate: migrate !== "false",
      tls: Object.fromEntries(files),
      ...options,
      ...(pooler === undefined ? {} : { pooler }),
      ...(poll === undefined ? {} : { poll }),
      ...(listen === null ? {} : { listen: Redacted.make(listen) }),
      ...limit
    })
  )
}

const unreadable = (input: string): string => {
  const [, host = ""] = /^beanstalks?:\/\/(?:[^/?#]*(?:@|%40))?([^/?#]*)/i.exec(input) ?? []
  if (withoutUser(input) !== input) return host === "" ? "it can't be read as a URL" : noUsers
  if (host.includes(",")) return oneServer
  if (/[[\]]/.test(host) ? !/^\[[^[\]]*\]/.test(host) : /^[0-9a-f.]*:[0-9a-f.]*:[0-9a-f.:]*(%.*)?$/i.test(host)) {
    return "an IPv6 address must be in brackets, as in beanstalk://[::1]:11300"
  }
  if (host.includes("%")) return "a URL can't contain an address with a zone (%): use another address of the host"
  if (/^:\d*$/.test(host)) return "the host is missing"
  if (host.lastIndexOf(":") > host.lastIndexOf("]")) return "the port must be a number from 1 to 65535"
  if (/^["'`]/.test(input)) return "write it without the quotes"
  if (isHostAndPort(input)) return `for beanstalkd write beanstalk://${input}`
  return /^[./~]|\.db$/.test(input) ? `for a file write sqlite:${input}` : "it can't be read as a URL"
}

/** Why the URL of a beanstalkd is invalid, apart from its query. */
const invalidity = (url: URL): string | undefined => {
  if (url.username !== "" || url.password !== "" || url.hostname.includes("%40")) return noUsers
  if (url.hostname === "") return "the host is missing"
  if (url.hostname.includes(",")) return oneServer
  if (hostOf(url) === undefined) return "the host must be a name or an address: check what is before the port"
  if (url.port === "0") return "the port must be a number from 1 to 65535"
  if (url.pathname !== "" && url.pathname !== "/") {
    return `it must have no path: leave out ${quoted(url.pathname)} after the host`
  }
  return url.hash === "" ? undefined : `it must have no fragment: leave out ${quoted(url.hash)} at its end`
}

/** The host in the form for a name server: without percent-encoding, and an IPv6 address without brackets. */
const hostOf = ({ hostname }: URL): string | undefined =>
  hostname.includes("%")
    ? URL.parse(`http://${hostname}`)?.hostname
    : hostname.replace(/^\[(.*)\]$/, "$1")

/**
 * Parses a URL. Blanks and line ends around it are ignored.
 *
 * @category functions
 * @since 0.1.0
 */
export const parse = (input: string): Result.Result<Parsed, BrokerUrlError> => {
  const text = input.trim()
  const url = withoutSecret(text)
  // If a password is hidden, a quoted part of the URL may be a part of it.
  const hidesUser = withoutUser(text) !== text
  const fail = (detail: string) =>
    Result.fail(
      new BrokerUrlError({ url, detail: hidesUser ? detail.replace(/"(?:[^"\\]|\\.)*"/g, "\"…\"") : detail })
    )
  return parseWith(text, fail)
}

const parseWith = (input: string, fail: Fail): Result.Result<Parsed, BrokerUrlError> => {
  if (input.length > maxUrlChars) return fail(`it must have at most ${maxUrlChars} characters`)
  // The URL parser would change a relative path, and one with a %.
  if (/^sqlite:/i.test(input)) return parseSqlite(input.slice("sqlite:".length), fail)
  if (/^memory:/i.test(input)) return parseMemory(input.slice("memory:".length), fail)
  if (/^postgres(ql)?:/i.test(input)) return parsePostgres(input, fail)
  const url = URL.parse(input)
  if (url === null) return fail(unreadable(input))
  if (url.protocol !== "beanstalk:" && url.protocol !== "beanstalks:") {
    return fail(isHostAndPort(input) ? unreadable(input) : `there is no broker ${quoted(url.protocol)}`)
  }
  const wrong = invalidity(url)
  if (wrong !== undefined) return fail(wrong)

  const secure = url.protocol === "beanstalks:"
  const query = url.searchParams
  if (query.has("max-job-size")) return fail("the server sets max-job-size: start it with beanstalkd -z")
  const names = checkNames(query, secure ? [...durationParameters, ...tlsParameters] : durationParameters, fail)
  if (Result.isFailure(names)) return Result.fail(names.failure)
  const durations = Result.all(durationParameters.map((name) => durationOf(query, name, fail)))
  if (Result.isFailure(durations)) return Result.fail(durations.failure)
  const [connectTimeout, replyTimeout, reconnectFor] = durations.success
  const text = (name: typeof tlsParameters[number]) => query.get(name) ?? undefined
  const version = wordOf(query, "min-version", ["TLSv1.2", "TLSv1.3"], fail)
  if (Result.isFailure(version)) return Result.fail(version.failure)
  const contents = checkPemFiles(query, fail)
  if (Result.isFailure(contents)) return Result.fail(contents.failure)
  return Result.succeed({
    _tag: "Beanstalk",
    host: hostOf(url)!,
    port: url.port === "" ? 11300 : Number(url.port),
    tls: secure
      ? Object.fromEntries(
        Object.entries({
          ca: text("ca"),
          cert: text("cert"),
          key: text("key"),
          servername: text("servername"),
          minVersion: version.success
        }).filter(([, value]) => value !== undefined)
      )
      : undefined,
    connectTimeout,
    replyTimeout,
    reconnectFor
  })
}

const missing = (url: string, detail: string): BrokerUrlError =>
  new BrokerUrlError({ url: withoutSecret(url.trim()), detail, namesBroker: true })

const readTls = Effect.fnUntraced(
  function*(url: string, files: NonNullable<Extract<Parsed, { _tag: "Beanstalk" }>["tls"]>) {
    const fs = yield* FileSystem.FileSystem
    const read = (option: "ca" | "cert" | "key") => {
      const path = files[option]
      return path === undefined ? Effect.undefined : fs.readFileString(path).pipe(
        Effect.mapError(({ message }) =>
          missing(
            url,
            `${option}=${path} can't be read: ${message}${
              path.includes(" ") ? "; + means a blank in a query: write %2B" : ""
            }`
          )
        )
      )
    }
    const key = yield* read("key")
    const tls: Connection.TlsOptions = {
      ca: yield* read("ca"),
      cert: yield* read("cert"),
      key: key === undefined ? undefined : Redacted.make(key),
      servername: files.servername,
      minVersion: files.minVersion as Connection.TlsOptions["minVersion"]
    }
    return tls
  },
  Effect.provide(NodeFileSystem.layer)
)

const ofPostgres = Effect.fnUntraced(function*(url: string, parsed: Extract<Parsed, { _tag: "Postgres" }>) {
  const { PostgresBroker } = yield* Effect.tryPromise({
    try: () => import("./postgres/index.ts"),
    catch: (error) =>
      missing(url, `install the package @effect/sql-pg beside backq: npm i @effect/sql-pg (${messageOfThrown(error)})`)
  })
  const { ca, cert, key } = yield* readTls(url, parsed.tls)
  const { _tag: _, hosts: __, ...rest } = parsed
  return { PostgresBroker, options: { ...rest, tls: { ca, cert, key } } }
})

/**
 * Options that override those of the URL.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How long workers wait for a server or file that is away. Default: forever for a server, 5 seconds for a file. */
  readonly reconnectFor?: Duration.Input | undefined
  /** Whether a schema of PostgreSQL is created and brought up to date. Default: yes. */
  readonly migrate?: boolean | undefined
}

/**
 * The broker of a URL.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  url: string,
  options: Options = {}
): Layer.Layer<Broker | Inspector, BrokerUrlError | BrokerError> =>
  Layer.unwrap(Effect.gen(function*() {
    const parsed = yield* Effect.fromResult(parse(url))
    if (parsed._tag === "Memory") {
      const { MemoryBroker } = yield* Effect.promise(() => import("./memory/index.ts"))
      return parsed.maxJobSize === undefined ? MemoryBroker.layer : MemoryBroker.layerWith(parsed)
    }
    if (parsed._tag === "Sqlite") {
      const { SqliteBroker } = yield* Effect.promise(() => import("./sqlite/index.ts"))
      return SqliteBroker.layer({ ...parsed, reconnectFor: options.reconnectFor ?? parsed.reconnectFor })
    }
    if (parsed._tag === "Postgres") {
      const { PostgresBroker, options: postgres } = yield* ofPostgres(url, parsed)
      return PostgresBroker.layer({
        ...postgres,
        migrate: options.migrate ?? parsed.migrate,
        reconnectFor: options.reconnectFor ?? parsed.reconnectFor
      })
    }
    const { BeanstalkBroker } = yield* Effect.promise(() => import("./beanstalk/index.ts"))
    const { connectTimeout, host, port, replyTimeout } = parsed
    return BeanstalkBroker.layer({
      host,
      port,
      connectTimeout,
      replyTimeout,
      isFromUrl: true,
      reconnectFor: options.reconnectFor ?? parsed.reconnectFor,
      tls: parsed.tls === undefined ? undefined : yield* readTls(url, parsed.tls)
    })
  }))

/**
 * The broker of the URL in `BACKQ_BROKER`. Default: {@link defaultUrl}.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Options = {}
): Layer.Layer<Broker | Inspector, BrokerUrlError | BrokerError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(
    Config.String("BACKQ_BROKER").pipe(Config.withDefault(defaultUrl)),
    (url) => layer(url, options)
  ))

const parsePostgresOnly = Effect.fnUntraced(function*(url: string) {
  const parsed = yield* Effect.fromResult(parse(url))
  if (parsed._tag === "Postgres") return yield* ofPostgres(url, parsed)
  return yield* optionInvalid(
    "the URL of a broker with a schema",
    `must be postgres://HOST/DATABASE, not "${withoutSecret(url.trim())}": the other brokers need no migration`
  )
})

/**
 * Brings the schema of a URL of PostgreSQL up to date, and gives roles their rights in it.
 *
 * @category functions
 * @since 0.1.0
 */
export const migrate = (
  url: string,
  roles: PostgresBroker.Roles = {}
): Effect.Effect<PostgresBroker.Migrated, BrokerUrlError | BrokerError> =>
  Effect.flatMap(
    parsePostgresOnly(url),
    ({ PostgresBroker, options }) => PostgresBroker.migrate({ ...options, ...roles })
  )

/**
 * What {@link migrate} would do, as a script for psql. Connects to nothing.
 *
 * @category functions
 * @since 0.1.0
 */
export const migrationScript = (
  url: string,
  roles: PostgresBroker.Roles = {}
): Effect.Effect<string, BrokerUrlError | BrokerError> =>
  Effect.flatMap(
    parsePostgresOnly(url),
    ({ PostgresBroker, options }) => PostgresBroker.migrationScript({ ...roles, schema: options.schema })
  )
