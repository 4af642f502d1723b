/**
 * Returns jobs to their queue as if they had not been delivered.
 *
 * A plain release would spend an attempt. So the job is released with a delay of
 * a second, and then kicked. It is ready at once, and the kick takes the attempt
 * back. If the connection ends between the two commands, the job is ready a
 * second later by itself.
 *
 * The kick waits until the release has succeeded. Otherwise, after an expired
 * lease, it could kick a job that another worker has buried.
 */
import type { Command } from "./command.ts"
import type { Connection } from "./Connection.ts"
import type { Answer } from "./pipeline.ts"
import { decodeJobStats } from "./stats.ts"

/** The first step. */
export const releaseUnspent = (id: string, priority: number): Command => ({ _tag: "Release", id, priority, delay: 1 })

/** The second step, for the commands that released a job. */
export const kicksFor = (commands: ReadonlyArray<Command>, answers: ReadonlyArray<Answer>): ReadonlyArray<Command> =>
  commands.flatMap((command, i) =>
    command._tag === "Release" && answers[i]?._tag === "Released" ? [{ _tag: "KickJob", id: command.id }] : []
  )

/** Requeues jobs whose caller is gone. Reads their priorities first, to keep them. Calls `done` at the end. */
export const requeue = (connection: Connection, ids: ReadonlyArray<string>, done: () => void): void => {
  connection.submit(ids.map((id) => ({ _tag: "StatsJob", id })), (answers) => {
    const releases = answers.flatMap((answer, i) => {
      const stats = answer._tag === "Ok" ? decodeJobStats(answer.body) : undefined
      return stats?._tag === "Success" ? [releaseUnspent(ids[i]!, stats.success.pri)] : []
    })
    connection.submit(releases, (answers) => connection.submit(kicksFor(releases, answers), done))
  })
}
