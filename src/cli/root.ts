/**
 * The root command with the flags that all commands share, and what each command
 * runs with: its broker, logs on stderr, and signals.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as BrokerUrl from "../brokers/url.ts"
import { Interrupted, NoFile, UsageError } from "./exitCode.ts"
import * as Loggers from "./loggers.ts"
import { Shutdown } from "./shutdown.ts"

type LogFormat = "pretty" | "logfmt" | "json"

/** The root command. */
export const root = Command.make("backq").pipe(
  Command.withSharedFlags({
    broker: Flag.String("broker").pipe(
      Flag.withMetavar("URL"),
      Flag.withDescription(
        "The broker: sqlite:PATH, beanstalk://HOST:PORT, beanstalks://HOST:PORT (TLS), postgres://HOST/DATABASE or memory:. " +
          `Default: BACKQ_BROKER, or ${BrokerUrl.defaultUrl}`
      ),
      Flag.withFallbackConfig(Config.String("BACKQ_BROKER")),
      Flag.withDefault(BrokerUrl.defaultUrl)
    ),
    logFormat: Flag.Literals("log-format", ["pretty", "logfmt", "json"]).pipe(
      Flag.withDescription(
        "The format of the log on stderr. Default: pretty on a terminal, elsewhere logfmt with one line per entry"
      ),
      Flag.withDefault(Effect.sync((): LogFormat => process.stderr.isTTY ? "pretty" : "logfmt"))
    )
  }),
  Command.withDescription("Background jobs in a SQLite file, in beanstalkd or in PostgreSQL")
)

const loggers = {
  pretty: Loggers.pretty(process.stderr.isTTY === true),
  logfmt: Loggers.logfmt,
  json: Loggers.json
}

/** Logs go to stderr. */
const logging = (format: LogFormat): Layer.Layer<never> =>
  Layer.merge(Layer.succeed(Logger.LogToStderr, true), Logger.layer([loggers[format]]))

/** Whether the broker of the flags is a server, which runs without this command. */
export const isServer: Effect.Effect<boolean, BrokerUrl.BrokerUrlError, Command.CommandContext<"backq">> = Effect.gen(
  function*() {
    const { broker } = yield* root
    const { _tag } = yield* Effect.fromResult(BrokerUrl.parse(broker))
    return _tag === "Beanstalk" || _tag === "Postgres"
  }
)

/** Provides the log of the flags to a command that needs no broker. */
export const withLogging = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(root, ({ logFormat }) => Effect.provide(effect, logging(logFormat)))

/** Provides the broker and the log of the flags to a command. */
export const withBroker = Effect.fnUntraced(function*<A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options: BrokerUrl.Options = {}
) {
  const { broker, logFormat } = yield* root
  return yield* Effect.provide(effect, Layer.provideMerge(BrokerUrl.layer(broker, options), logging(logFormat)))
})

/**
 * Provides the broker of the flags to an operator's command if the broker
 * already exists. A queue in memory would be empty, and so would a file or schema
 * that the command itself creates.
 */
export const withExisting = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const { broker } = yield* root
    const parsed = yield* Effect.fromResult(BrokerUrl.parse(broker))
    if (parsed._tag === "Memory") {
      return yield* new UsageError({
        detail:
          "memory: exists only in the process that uses it, so this command can't see it: name another broker with --broker"
      })
    }
    if (parsed._tag === "Sqlite") {
      const fs = yield* FileSystem.FileSystem
      const exists = yield* Effect.orElseSucceed(fs.exists(parsed.path), () => true)
      if (!exists) return yield* new NoFile({ path: parsed.path })
    }
    return yield* withBroker(effect, { migrate: false })
  })

/** Ends a command when a signal comes before it is done. */
export const interruptible = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | Interrupted, R> =>
  Effect.flatMap(
    Shutdown,
    ({ asked }) => Effect.raceFirst(effect, Effect.andThen(asked, Effect.fail(new Interrupted())))
  )

/** Combines {@link withExisting} and {@link interruptible}. */
export const operate = <A, E, R>(effect: Effect.Effect<A, E, R>) => interruptible(withExisting(effect))
