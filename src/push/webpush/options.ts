/** The options of the connections to push services: their defaults and rules. */
import * as Duration from "effect/Duration"
import { duration, integer } from "../../internal/options.ts"
import { ConnectionRules } from "../pool/index.ts"
import { maxReuse } from "./encryption/encryptor.ts"
import * as Endpoints from "./subscription/Endpoints.ts"
import * as SetupError from "./vapid/SetupError.ts"

/**
 * How many connections there are, how long each step may take, and where they lead.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConnectionOptions {
  /** The hosts that messages may go to. Default: `"known"`, the push services of the big browsers. */
  readonly allow?: Endpoints.Allowed | undefined
  /**
   * Reuses the key pair of a browser for this time, at most 30 minutes. A message then costs
   * a fifth of the CPU; see `docs/webpush.md` for what is lost. Default: a new pair for each message.
   */
  readonly reuseKeys?: Duration.Input | undefined
  /** At most this many push services are connected at the same time. Default: 64. */
  readonly maxOrigins?: number | undefined
  /** At most this many connections to one push service. Default: 4. */
  readonly maxConnections?: number | undefined
  /** The certificate authorities to trust, in PEM. Not a secret. Default: those that Node.js trusts. */
  readonly ca?: string | undefined
  /** The deadline to open a connection: DNS, TCP, TLS and first SETTINGS together. Default: 10 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long a push service may take to answer. Default: 30 seconds. */
  readonly requestTimeout?: Duration.Input | undefined
  /** How long a message may wait for a connection before it fails with `NotSent` or `Timeout`. Default: 30 seconds. */
  readonly queueTimeout?: Duration.Input | undefined
  /** Closes the connections to a push service after this idle time. Default: 150 seconds. */
  readonly idleTimeout?: Duration.Input | undefined
  /** How long the layer waits for answers when it closes. Default: 10 seconds. */
  readonly drainTimeout?: Duration.Input | undefined
}

const maxReuseSeconds = Duration.toSeconds(maxReuse)

/** The first option that breaks its rule. */
export const wrongOption = (options: ConnectionOptions): SetupError.OptionInvalid | undefined => {
  const { allow, ca, maxOrigins, reuseKeys } = options
  const wrong = ConnectionRules.firstBroken([
    ["allow", allow === undefined ? undefined : Endpoints.wrongAllowed(allow)],
    [
      "reuseKeys",
      reuseKeys === undefined ? undefined : duration(reuseKeys, { minMillis: 0, maxSeconds: maxReuseSeconds })
    ],
    ["maxOrigins", maxOrigins === undefined ? undefined : integer(maxOrigins, 1, 10_000)],
    ["ca", ca === undefined || typeof ca === "string" ? undefined : "must be certificates in PEM"],
    ...ConnectionRules.rules(options)
  ])
  return wrong && new SetupError.OptionInvalid(wrong)
}

const durationOf = (input: Duration.Input | undefined, fallback: Duration.Input): Duration.Duration =>
  Duration.fromInputUnsafe(input ?? fallback)

/** The options with their defaults, after they were checked. */
export const settled = (options: ConnectionOptions) => ({
  allow: options.allow ?? "known",
  reuseMillis: Duration.toMillis(durationOf(options.reuseKeys, 0)),
  maxOrigins: options.maxOrigins ?? 64,
  maxConnections: options.maxConnections ?? 4,
  ca: options.ca,
  connectTimeout: durationOf(options.connectTimeout, "10 seconds"),
  requestTimeout: durationOf(options.requestTimeout, "30 seconds"),
  queueTimeout: durationOf(options.queueTimeout, "30 seconds"),
  idleTimeout: durationOf(options.idleTimeout, "150 seconds"),
  drainTimeout: durationOf(options.drainTimeout, "10 seconds")
})

/** The options with their defaults. */
export type Settled = ReturnType<typeof settled>
