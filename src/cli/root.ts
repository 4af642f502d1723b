/**
 * The root of the commands, with the flags that all share, and what each
 * command runs in: the broker that was named, logs on stderr, signals.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
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
        "sqlite:PATH, beanstalk://HOST:PORT, beanstalks://HOST:PORT (TLS) or memory:. " +
          `Default: BACKQ_BROKER, or ${BrokerUrl.defaultUrl}`
      ),
      Flag.withFallbackConfig(Config.String("BACKQ_BROKER")),
      Flag.withDefault(BrokerUrl.defaultUrl)
    ),
    logFormat: Flag.Literals("log-format", ["pretty", "logfmt", "json"]).pipe(
      Flag.withDescription(
        "How logs on stderr look: for people, or a line each. Default: pretty on a terminal, logfmt elsewhere"
      ),
      Flag.withDefault(Effect.sync((): LogFormat => process.stderr.isTTY ? "pretty" : "logfmt"))
    )
  }),
  Command.withDescription("Background jobs in a file, or over beanstalkd")
)

const loggers = {
  pretty: Loggers.pretty(process.stderr.isTTY === true),
  logfmt: Loggers.logfmt,
  json: Loggers.json
}

/** Logs go to stderr. */
const logging = (format: LogFormat): Layer.Layer<never> =>
  Layer.merge(Layer.succeed(Logger.LogToStderr, true), Logger.layer([loggers[format]]))

/** Is the broker that the flags name a server, that is up whoever looks? */
export const isServer: Effect.Effect<boolean, BrokerUrl.BrokerUrlError, Command.CommandContext<"backq">> = Effect.gen(
  function*() {
    const { broker } = yield* root
    return (yield* Effect.fromResult(BrokerUrl.parse(broker)))._tag === "Beanstalk"
  }
)

/** Gives a command that needs no broker the logs that the flags ask for. */
export const withLogging = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(root, ({ logFormat }) => Effect.provide(effect, logging(logFormat)))

/** Gives a command the broker that the flags name, and the logs they ask for. */
export const withBroker = Effect.fnUntraced(function*<A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options: { readonly reconnectFor?: Duration.Duration | undefined } = {}
) {
  const { broker, logFormat } = yield* root
  return yield* Effect.provide(effect, Layer.provideMerge(BrokerUrl.layer(broker, options), logging(logFormat)))
})

/**
 * Gives an operator's command the broker that the flags name, if it is there
 * already: a queue in memory would be empty, and so would a file that is only
 * made by looking at it.
 */
export const withExisting = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const { broker } = yield* root
    const parsed = yield* Effect.fromResult(BrokerUrl.parse(broker))
    if (parsed._tag === "Memory") {
      return yield* new UsageError({
        detail: "memory: is in the process that uses it, there is nothing to see from here; name a broker with --broker"
      })
    }
    if (parsed._tag === "Sqlite") {
      const fs = yield* FileSystem.FileSystem
      const exists = yield* Effect.orElseSucceed(fs.exists(parsed.path), () => true)
      if (!exists) return yield* new NoFile({ path: parsed.path })
    }
    return yield* withBroker(effect)
  })

/** Ends a command that is asked to stop before it is done. */
export const interruptible = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | Interrupted, R> =>
  Effect.flatMap(
    Shutdown,
    ({ asked }) => Effect.raceFirst(effect, Effect.andThen(asked, Effect.fail(new Interrupted())))
  )

/** Gives an operator's command, which may be asked to stop, the broker {@link withExisting}. */
export const operate = <A, E, R>(effect: Effect.Effect<A, E, R>) => interruptible(withExisting(effect))
