/**
 * What a file needs beside its jobs: finished jobs are forgotten when their
 * time is over, and space that nothing needs is given back.
 *
 * Works in small portions, each an operation among others, so that nobody waits
 * for it. When there is nothing to do it costs a look every {@link interval}.
 */
import * as Effect from "effect/Effect"
import type { BrokerError } from "../../BrokerError.ts"
import type { Checkpoints } from "./checkpoints.ts"
import type { Commits } from "./commits.ts"
import type { History } from "./history.ts"
import type { Space } from "./space.ts"
import * as Upkeep from "./supervise.ts"

const interval = "1 second"

/** Between two portions of space, so that it is given back besides the work and not before it. */
const rest = "10 millis"

/** What is kept in order. */
export interface Store {
  readonly broker: string
  readonly commits: Commits
  readonly history: History
  readonly space: Space
  readonly checkpoints: Checkpoints
}

/**
 * Works while there is something to do, and the work says that there may be more: a file that is damaged may say so
 * for ever. Failures are those of the file, which everybody else sees.
 */
const whileDue = (isDue: () => boolean, work: Effect.Effect<boolean, BrokerError>) =>
  Effect.flatMap(Effect.try(isDue), (due) => due ? work : Effect.succeed(false)).pipe(
    Effect.repeat({ while: (more) => more }),
    Effect.ignore
  )

const forgetOver = ({ commits, history }: Store) =>
  whileDue(() => history.nextOver() <= commits.now(), commits.run(history.forget))

const giveBackSpace = ({ checkpoints, commits, space }: Store) => {
  const portion = Effect.map(commits.run(() => space.giveBack()), (pages) => {
    checkpoints.wrote(pages, 0)
    // the file gets shorter when the log is copied
    if (space.spare() === 0) checkpoints.finish()
    return pages > 0
  })
  return whileDue(() => space.spare() > 0, Effect.delay(portion, rest))
}

/** Keeps a file in order for as long as it is not interrupted. */
export const run = (store: Store): Effect.Effect<never> =>
  Upkeep.forever(
    `housekeeping of ${store.broker}`,
    Effect.delay(Effect.andThen(forgetOver(store), giveBackSpace(store)), interval)
  )
