/**
 * What a file needs beside its jobs: finished jobs are forgotten when their
 * time is over.
 *
 * Works in small portions, each an operation among others, so that nobody waits
 * for it. When there is nothing to do it costs a look every {@link interval}.
 */
import * as Effect from "effect/Effect"
import type { Commits } from "./Commits.ts"
import type { History } from "./History.ts"

const interval = "1 second"

/** What is kept in order. */
export interface Store {
  readonly commits: Commits
  readonly history: History
}

/** Forgets what is over, for as long as there is some. Failures are those of the file, which everybody else sees. */
const forgetOver = ({ commits, history }: Store) =>
  Effect.suspend(() => history.nextOver() > commits.now() ? Effect.succeed(false) : commits.run(history.forget)).pipe(
    Effect.repeat({ until: (isMore) => !isMore }),
    Effect.ignore
  )

/** Keeps a file in order for as long as it is not interrupted. */
export const run = (store: Store): Effect.Effect<never> => Effect.forever(Effect.delay(forgetOver(store), interval))
