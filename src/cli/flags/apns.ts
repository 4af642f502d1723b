/**
 * The flags for credentials and connections to Apple. Each flag overrides a
 * variable of `ApnsConfig`. Secrets have no flag: other users of the machine can
 * see the arguments of a program.
 */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import type * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Apns, type CredentialError } from "../../push/apns/index.ts"
import { UsageError } from "../exitCode.ts"
import * as Flags from "./flags.ts"
import { checkProxy, environment, file, proxy, text, time } from "./service.ts"

/** The flags for credentials and connections to Apple. */
export const apnsFlags = {
  key: file("key", "BACKQ_APNS_KEY", "The .p8 file of a key"),
  keyId: text("key-id", "BACKQ_APNS_KEY_ID, or the id in the file's name", "The key's id"),
  teamId: text("team-id", "BACKQ_APNS_TEAM_ID", "The team's id"),
  certificate: file(
    "certificate",
    "BACKQ_APNS_CERTIFICATE",
    "A certificate instead of a key: .p12 or PEM; its passphrase is in BACKQ_APNS_PASSPHRASE"
  ),
  certificateKey: file(
    "certificate-key",
    "BACKQ_APNS_CERTIFICATE_KEY, or the key in the certificate's file",
    "The certificate's key, PEM"
  ),
  environment: Flag.Literals("environment", ["production", "sandbox"]).pipe(
    Flag.withDescription("Which of Apple's environments. Default: BACKQ_APNS_ENVIRONMENT, or production"),
    Flags.optional
  ),
  host: text("host", "BACKQ_APNS_HOST, or Apple's", "Another server, such as a simulator"),
  port: Flags.integer("port", 1).pipe(
    Flag.withDescription("The port: 443, or 2197 for firewalls. Default: BACKQ_APNS_PORT, or 443"),
    Flags.optional
  ),
  ca: file("ca", "BACKQ_APNS_CA, or those of Node.js", "The CA certificates that backq trusts for the server, PEM"),
  proxy: proxy("BACKQ_APNS_PROXY"),
  maxConnections: Flags.integer("max-connections", 1).pipe(
    Flag.withDescription("At most this many connections to Apple. Default: 4"),
    Flags.optional
  ),
  connectTimeout: time("connect-timeout", "How long opening a connection may take. Default: 10s"),
  requestTimeout: time("request-timeout", "How long Apple's answer to a push may take. Default: 30s"),
  queueTimeout: time("queue-timeout", "How long a push may wait for a connection. Default: 30s"),
  drainTimeout: Flags.duration("drain-timeout").pipe(
    Flag.withDescription("How long to wait for answers at the end. Default: 10s"),
    Flags.optional
  ),
  idlePing: time("idle-ping", "Probe a connection after Apple was silent on it for this long. Default: 1m")
}

/** The values of {@link apnsFlags}, and the topic. */
export interface Input extends Command.Command.Config.Infer<typeof apnsFlags> {
  readonly topic: string | undefined
}

const variables = (flags: Input): ConfigProvider.ConfigProvider =>
  environment("BACKQ_APNS_", {
    KEY: flags.key,
    KEY_ID: flags.keyId,
    TEAM_ID: flags.teamId,
    CERTIFICATE: flags.certificate,
    CERTIFICATE_KEY: flags.certificateKey,
    TOPIC: flags.topic,
    ENVIRONMENT: flags.environment,
    HOST: flags.host,
    PORT: flags.port,
    CA: flags.ca,
    PROXY: flags.proxy
  })

/** A key on the command line hides a certificate in the environment, and the other way round. */
const shadowed = ({ certificate, key }: Input): ReadonlyArray<string> =>
  key !== undefined && certificate === undefined
    ? ["BACKQ_APNS_CERTIFICATE"]
    : certificate !== undefined && key === undefined
    ? ["BACKQ_APNS_KEY"]
    : []

const provider = (flags: Input, outer: ConfigProvider.ConfigProvider): ConfigProvider.ConfigProvider => {
  const hidden = shadowed(flags)
  return ConfigProvider.orElse(
    variables(flags),
    ConfigProvider.make((path) => hidden.includes(String(path[0])) ? Effect.undefined : outer.load(path))
  )
}

/** Only the options of connections: a worker has other timeouts, too. */
const connections = (flags: Input): Apns.ConnectionOptions => {
  const { connectTimeout, drainTimeout, idlePing, maxConnections, queueTimeout, requestTimeout } = flags
  return { connectTimeout, drainTimeout, idlePing, maxConnections, queueTimeout, requestTimeout }
}

/** Secrets have no flag. */
const unflagged = new Set(["PASSPHRASE"])

/** Adds the name of the flag to each variable in a message. */
const withFlags = (message: string): string =>
  message.replace(
    /BACKQ_APNS_([A-Z_]+)/g,
    (variable, name: string) =>
      unflagged.has(name) ? variable : `--${name.toLowerCase().replaceAll("_", "-")} (or ${variable})`
  )

const adviceOf = (error: CredentialError.CredentialError | Config.ConfigError | UsageError): string => {
  if (error._tag === "UsageError") return error.detail
  const isBare = error._tag === "CredentialError" && error.reason._tag === "OptionMissing" &&
    error.reason.option === "BACKQ_APNS_KEY"
  return withFlags(error.message) + (isBare ? "; to try it without Apple, run backq apns-simulator" : "")
}

/** The `Apns` service, configured by the flags and the environment. */
export const apnsLayer = (flags: Input): Layer.Layer<Apns.Apns, UsageError> =>
  Layer.unwrap(
    Effect.map(
      Effect.andThen(checkProxy(flags.proxy, "BACKQ_APNS_PROXY"), ConfigProvider.ConfigProvider),
      (outer) => Layer.provide(Apns.layerConfig(connections(flags)), ConfigProvider.layer(provider(flags, outer)))
    )
  ).pipe(
    Layer.catch((error) => Layer.effectContext(Effect.fail(new UsageError({ detail: adviceOf(error) }))))
  )
