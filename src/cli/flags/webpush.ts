/**
 * The flags for VAPID keys and connections to the push services of browsers. Each flag
 * overrides a variable of `WebPushConfig`. Secrets have no flag: other users of the
 * machine can see the arguments of a program.
 */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { AddressGuard, WebPush } from "../../push/webpush/index.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "./flags.ts"
import { environment, file, text, time } from "./service.ts"

/** The flags for VAPID keys and connections. */
export const webPushFlags = {
  key: file("key", "BACKQ_WEBPUSH_PRIVATE_KEY", "The file of the private VAPID key, as backq vapid-keys prints it"),
  keyId: text("key-id", "BACKQ_WEBPUSH_KEY_ID, or default", "The id by which subscriptions name the key"),
  subject: text("subject", "BACKQ_WEBPUSH_SUBJECT", "Whom a push service can ask: mailto:ops@example.com, or a page"),
  allow: Flag.String("allow").pipe(
    Flag.withMetavar("HOST"),
    Flag.withDescription(
      "A host that messages may go to, instead of those of the big browsers; can be repeated. anyPublic: all. Default: BACKQ_WEBPUSH_ALLOW"
    ),
    Flags.repeated
  ),
  allowAddress: Flag.String("allow-address").pipe(
    Flag.withMetavar("ADDRESS"),
    Flag.withDescription(
      "An address that is not public, and that messages may go to, such as 127.0.0.1 for a simulator; can be repeated"
    ),
    Flags.repeated
  ),
  ca: file(
    "ca",
    "BACKQ_WEBPUSH_CA, or those of Node.js",
    "The CA certificates that backq trusts for the services, PEM"
  ),
  reuseKeys: time(
    "reuse-keys",
    "Reuse the key pair for a browser for this time, at most 30m: five times less CPU. Default: a new pair for each message"
  ),
  maxConnections: Flags.integer("max-connections", 1).pipe(
    Flag.withDescription("At most this many connections to one push service. Default: 4"),
    Flags.optional
  ),
  connectTimeout: time("connect-timeout", "How long opening a connection may take. Default: 10s"),
  requestTimeout: time("request-timeout", "How long the answer to a message may take. Default: 30s"),
  queueTimeout: time("queue-timeout", "How long a message may wait for a connection. Default: 30s"),
  drainTimeout: Flags.duration("drain-timeout").pipe(
    Flag.withDescription("How long to wait for answers at the end. Default: 10s"),
    Flags.optional
  )
}

type Input = Command.Command.Config.Infer<typeof webPushFlags>

const variables = ({ allow, ca, key, keyId, subject }: Input): ConfigProvider.ConfigProvider =>
  environment("BACKQ_WEBPUSH_", {
    PRIVATE_KEY: key,
    KEY_ID: keyId,
    SUBJECT: subject,
    ALLOW: allow.length === 0 ? undefined : allow.join(","),
    CA: ca
  })

/** Only the options of connections: a worker has other timeouts, too. */
const connections = (flags: Input): WebPush.ConnectionOptions => {
  const { connectTimeout, drainTimeout, maxConnections, queueTimeout, requestTimeout, reuseKeys } = flags
  return { connectTimeout, drainTimeout, maxConnections, queueTimeout, requestTimeout, reuseKeys }
}

/** Adds the name of the flag to each variable in a message. */
const withFlags = (message: string): string =>
  message.replace(
    /BACKQ_WEBPUSH_(PRIVATE_KEY|KEY_ID|SUBJECT|ALLOW|CA)\b/g,
    (variable, name: string) =>
      `--${name === "PRIVATE_KEY" ? "key" : name.toLowerCase().replaceAll("_", "-")} (or ${variable})`
  )

const guard = ({ allowAddress }: Input): Layer.Layer<never> =>
  AddressGuard.layer((address) => AddressGuard.isPublic(address) || allowAddress.includes(address))

/** The `WebPush` service, configured by the flags and the environment. */
export const webPushLayer = (flags: Input): Layer.Layer<WebPush.WebPush, UsageError> =>
  Layer.unwrap(
    Effect.map(ConfigProvider.ConfigProvider, (outer) =>
      Layer.provide(
        WebPush.layerConfig(connections(flags)),
        [ConfigProvider.layer(ConfigProvider.orElse(variables(flags), outer)), guard(flags)]
      ))
  ).pipe(
    Layer.catch((error) => Layer.effectContext(Effect.fail(new UsageError({ detail: withFlags(error.message) }))))
  )
