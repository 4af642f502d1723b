/** The collaborators that the stages of one worker share. */
import type { Broker, Consumer } from "../Broker.ts"
import type { Attempts, Clocks } from "./attempts.ts"
import type { Settings } from "./options.ts"
import type { Renewal } from "./renewal.ts"
import type { Telemetry } from "./telemetry.ts"

/** Why a worker stopped. */
export type StopReason = "IdleTimeout" | "MaxJobs" | "Stopped"

/** How a worker ends. */
export interface Ending {
  reason: StopReason
  /** Whether the broker stayed unreachable for longer than its policy allows. If so no settlement is retried. */
  isBrokerAway: boolean
}

/** The collaborators that the stages of one worker share. */
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
