/** The result of an action on jobs: which jobs it changed, how many, and where others are. */
import * as Effect from "effect/Effect"
import type { JobId } from "../../Broker.ts"
import type { BrokerError } from "../../BrokerError.ts"
import { Inspector, type ListedState, type PeekableState, type QueueStats } from "../../Inspector.ts"
import { SomeMissing } from "../exitCode.ts"
import { note, print, printJson, withDone } from "../output.ts"
import { jobs as countJobs } from "./text.ts"

/**
 * Applies an action to each job and prints the ids. Fails if some jobs were
 * missing.
 */
export const each = Effect.fnUntraced(function*(
  ids: ReadonlyArray<JobId>,
  done: string,
  json: boolean,
  act: (id: JobId) => Effect.Effect<unknown, BrokerError, Inspector>
) {
  const missing: Array<JobId> = []
  for (const id of ids) {
    yield* act(id).pipe(
      Effect.catchReason("BrokerError", "NotFound", () => Effect.sync(() => missing.push(id)))
    )
  }
  const present = ids.filter((id) => !missing.includes(id))
  const line = `${done}: ${present.join(", ")}`
  if (json) yield* withDone(line, printJson({ [done]: present, missing }))
  else if (present.length > 0) yield* withDone(line, print(line))
  if (missing.length > 0) return yield* new SomeMissing({ ids: missing })
})

/** Prints the number of jobs that an action changed. */
export const printCount = (done: string, count: number, json: boolean) => {
  const line = `${done}: ${countJobs(count)}`
  return withDone(line, json ? printJson({ [done]: count }) : print(line))
}

/** Says which states the jobs of a queue are in, if none is in the requested state. */
export const noteOtherStates = (
  stats: QueueStats,
  asked: ListedState,
  states: ReadonlyArray<PeekableState>
) => {
  const others = states.filter((state) => state !== asked && stats[state] > 0)
  const where = others.map((state) => `${stats[state]} ${state}`).join(", ")
  return note(
    `no job of ${stats.queue} is ${asked}${where === "" ? "" : `, but the queue has ${where}: use --state`}`
  )
}
