/**
 * The flags for the account and the connections to Google. Each flag overrides a variable
 * of `FcmConfig`. Secrets have no flag: other users of the machine can see the arguments
 * of a program.
 */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Fcm } from "../../push/fcm/index.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "./flags.ts"
import { checkProxy, environment, file, proxy, text, time } from "./service.ts"

/** The flags for the account and the connections to Google. */
export const fcmFlags = {
  account: file(
    "account",
    "BACKQ_FCM_SERVICE_ACCOUNT, or GOOGLE_APPLICATION_CREDENTIALS",
    "The JSON file of a service account"
  ),
  project: text("project", "BACKQ_FCM_PROJECT, or that of the account", "The project's id"),
  host: text("host", "BACKQ_FCM_HOST, or Google's", "Another server, such as a simulator"),
  port: Flags.integer("port", 1).pipe(
    Flag.withDescription("The port. Default: BACKQ_FCM_PORT, or 443"),
    Flags.optional
  ),
  ca: file("ca", "BACKQ_FCM_CA, or those of Node.js", "The CA certificates that backq trusts for the server, PEM"),
  proxy: proxy("BACKQ_FCM_PROXY"),
  maxConnections: Flags.integer("max-connections", 1).pipe(
    Flag.withDescription("At most this many connections to Google. Default: 10"),
    Flags.optional
  ),
  connectTimeout: time("connect-timeout", "How long opening a connection may take. Default: 10s"),
  requestTimeout: time("request-timeout", "How long Google's answer to a push may take. Default: 15s"),
  queueTimeout: time("queue-timeout", "How long a push may wait for a connection. Default: 30s"),
  drainTimeout: Flags.duration("drain-timeout").pipe(
    Flag.withDescription("How long to wait for answers at the end. Default: 10s"),
    Flags.optional
  )
}

type Input = Command.Command.Config.Infer<typeof fcmFlags>

const variables = ({ account, ca, host, port, project, proxy }: Input): ConfigProvider.ConfigProvider =>
  environment("BACKQ_FCM_", {
    SERVICE_ACCOUNT: account,
    PROJECT: project,
    HOST: host,
    PORT: port,
    CA: ca,
    PROXY: proxy
  })

/** Only the options of connections: a worker has other timeouts, too. */
const connections = (flags: Input): Fcm.ConnectionOptions => {
  const { connectTimeout, drainTimeout, maxConnections, queueTimeout, requestTimeout } = flags
  return { connectTimeout, drainTimeout, maxConnections, queueTimeout, requestTimeout }
}

/** The error does not show the value: it may be a secret. */
const checkAccount = ({ account }: Input): Effect.Effect<void, UsageError> =>
  account?.trimStart().startsWith("{") === true
    ? Effect.fail(
      new UsageError({
        detail:
          "--account must be a file, since other users of this machine can see the arguments: give the text in BACKQ_FCM_SERVICE_ACCOUNT"
      })
    )
    : Effect.void

const checkSecrets = (flags: Input): Effect.Effect<void, UsageError> =>
  Effect.andThen(checkProxy(flags.proxy, "BACKQ_FCM_PROXY"), checkAccount(flags))

/** Adds the name of the flag to each variable in a message. */
const withFlags = (message: string): string =>
  message.replace(
    /BACKQ_FCM_(SERVICE_ACCOUNT|PROJECT|HOST|PORT|CA|PROXY)\b/g,
    (variable, name: string) => `--${name === "SERVICE_ACCOUNT" ? "account" : name.toLowerCase()} (or ${variable})`
  )

/** The `Fcm` service, configured by the flags and the environment. */
export const fcmLayer = (flags: Input): Layer.Layer<Fcm.Fcm, UsageError> =>
  Layer.unwrap(
    Effect.map(
      Effect.andThen(checkSecrets(flags), ConfigProvider.ConfigProvider),
      (outer) =>
        Layer.provide(
          Fcm.layerConfig(connections(flags)),
          ConfigProvider.layer(ConfigProvider.orElse(variables(flags), outer))
        )
    )
  ).pipe(
    Layer.catch((error) =>
      Layer.effectContext(
        Effect.fail(error._tag === "UsageError" ? error : new UsageError({ detail: withFlags(error.message) }))
      )
    )
  )
