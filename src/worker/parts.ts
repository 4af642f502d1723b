/**
 * What the stages of one worker share.
 */
import type { Broker, Consumer } from "../Broker.ts"
import type { Attempts, Clocks } from "./attempts.ts"
import type { Settings } from "./options.ts"
import type { Renewal } from "./renewal.ts"
import type { Telemetry } from "./telemetry.ts"

/** Why a worker stopped by itself. */
export type StopReason = "IdleTimeout" | "MaxJobs" | "Stopped"

/** How a worker comes to its end. */
export interface Ending {
  reason: StopReason
  /** Whether the broker stayed away for longer than its policy allows. Then no settlement is tried again. */
  isBrokerAway: boolean
}

/** What the stages of one worker share. */
export interface Parts {
  readonly settings: Settings
  readonly clocks: Clocks
  readonly broker: Broker["Service"]
  readonly consumer: Consumer
  readonly attempts: Attempts
  readonly renewal: Renewal
  readonly telemetry: Telemetry
  readonly ending: Ending
}
