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
import * as BrokerUrl from "../BrokerUrl.ts"
import { Interrupted, NoFile, UsageError } from "./exitCode.ts"
import { Shutdown } from "./Shutdown.ts"

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
    logFormat: Flag.Literals("log-format", ["pretty", "json"]).pipe(
      Flag.withDescription("How logs on stderr look: for people, or JSON lines"),
      Flag.withDefault("pretty")
    )
  }),
  Command.withDescription("Background jobs in a file, or over beanstalkd")
)

/** Logs go to stderr: JSON lines, in colours on a terminal, or one plain line each. */
const logging = (format: "pretty" | "json"): Layer.Layer<never> =>
  Layer.merge(
    Layer.succeed(Logger.LogToStderr, true),
    Logger.layer([
      format === "json"
        ? Logger.withConsoleError(Logger.formatJson)
        : process.stderr.isTTY
        ? Logger.consolePretty({ mode: "tty", colors: true })
        : Logger.withConsoleError(Logger.formatLogFmt)
    ])
  )

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
export const operate = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
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
  }).pipe(interruptible)

/** Ends a command that is asked to stop before it is done. */
export const interruptible = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | Interrupted, R> =>
  Effect.flatMap(
    Shutdown,
    ({ asked }) => Effect.raceFirst(effect, Effect.andThen(asked, Effect.fail(new Interrupted())))
  )
