/**
 * Removes finished jobs whose time has ended, and returns unused space to the
 * disk.
 *
 * It works in small operations among the others, so that it delays none of them.
 * If there is nothing to do it costs one look every {@link interval}.
 */
import * as Effect from "effect/Effect"
import type { BrokerError } from "../../BrokerError.ts"
import type { Checkpoints } from "./checkpoints.ts"
import type { Commits } from "./commits.ts"
import type { History } from "./history.ts"
import type { Space } from "./space.ts"
import * as Supervise from "./supervise.ts"

const interval = "1 second"

/** The pause between two steps that return space, so that jobs come first. */
const pauseBetweenSteps = "10 millis"

/** What the housekeeping works on. */
export interface Parts {
  readonly broker: string
  readonly commits: Commits
  readonly history: History
  readonly space: Space
  readonly checkpoints: Checkpoints
}

/**
 * Repeats `work` while it is due and returns `true`. Both conditions count, because in a damaged file the work may stay
 * due forever. Failures are ignored: every other operation reports them, too.
 */
const whileDue = (isDue: () => boolean, work: Effect.Effect<boolean, BrokerError>) =>
  Effect.flatMap(Effect.try(isDue), (due) => due ? work : Effect.succeed(false)).pipe(
    Effect.repeat({ while: (more) => more }),
    Effect.ignore
  )

const forgetExpired = ({ commits, history }: Parts) =>
  whileDue(() => history.nextExpiry() <= commits.now(), commits.run(history.forget))

const returnSpace = ({ checkpoints, commits, space }: Parts) => {
  const step = Effect.map(commits.run(() => space.shrink()), (pages) => {
    checkpoints.wrote(pages, 0)
    // The file gets shorter only when the log is copied.
    if (space.spare() === 0) checkpoints.finish()
    return pages > 0
  })
  return whileDue(() => space.spare() > 0, Effect.delay(step, pauseBetweenSteps))
}

/** Does the housekeeping of a file until it is interrupted. */
export const run = (parts: Parts): Effect.Effect<never> =>
  Supervise.forever(
    `housekeeping of ${parts.broker}`,
    Effect.delay(Effect.andThen(forgetExpired(parts), returnSpace(parts)), interval)
  )
