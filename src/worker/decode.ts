/**
 * The second stage: decodes leases and finds their handlers. An unreadable job,
 * and one without a handler, goes on with the decision to bury it.
 */
import { map } from "effect/Array"
import * as Stream from "effect/Stream"
import type { Lease } from "../Broker.ts"
import type { BrokerError } from "../BrokerError.ts"
import type { Attempt } from "./attempt.ts"
import { decodeLease } from "./decodeLease.ts"
import type { Parts } from "./parts.ts"

/** Turns leases into attempts that wait for a handler. */
export const decode =
  ({ attempts, clocks, settings }: Parts) =>
  (leases: Stream.Stream<Lease, BrokerError>): Stream.Stream<Attempt, BrokerError> =>
    Stream.mapArray(leases, (batch) => {
      const leasedAt = clocks.now()
      const wallNow = clocks.wallNow()
      return map(batch, (lease) => attempts.make(lease, decodeLease(lease, settings.rules, wallNow), leasedAt))
    })
