/**
 * Returns jobs to their queue as if nobody had taken them.
 *
 * A plain release would spend an attempt. Here the job is released with a
 * delay of a second and then kicked: it is ready again at once, and the kick
 * counts the delivery as unspent. If the connection ends between the two
 * commands, the job is ready a second later by itself.
 *
 * The kick waits for the release to succeed. Otherwise it could wake a job that
 * somebody else has buried since our lease ran out.
 */
import type { Command } from "./command.ts"
import type { Connection } from "./Connection.ts"
import type { Answer } from "./pipeline.ts"
import { decodeJobStats } from "./stats.ts"

/** The first step. */
export const releaseUnspent = (id: string, priority: number): Command => ({ _tag: "Release", id, priority, delay: 1 })

/** The second step, for those of the commands that released a job. */
export const kicksFor = (commands: ReadonlyArray<Command>, answers: ReadonlyArray<Answer>): ReadonlyArray<Command> =>
  commands.flatMap((command, i) =>
    command._tag === "Release" && answers[i]?._tag === "Released" ? [{ _tag: "KickJob", id: command.id }] : []
  )

/** Returns jobs that nobody waits for any more, with the priority that they have. Calls `done` when it is over. */
export const requeue = (connection: Connection, ids: ReadonlyArray<string>, done: () => void): void => {
  connection.submit(ids.map((id) => ({ _tag: "StatsJob", id })), (answers) => {
    const releases = answers.flatMap((answer, i) => {
      const stats = answer._tag === "Ok" ? decodeJobStats(answer.body) : undefined
      return stats?._tag === "Success" ? [releaseUnspent(ids[i]!, stats.success.pri)] : []
    })
    connection.submit(releases, (answers) => connection.submit(kicksFor(releases, answers), done))
  })
}
