/**
 * Tells whether a process of this machine has died.
 *
 * A pid alone is not enough, because another program may have it by now. So the
 * start time of the process counts too (proc(5), `/proc/PID/stat`, field 22).
 * Both identify a process only within one boot and one pid namespace, here
 * called its "world".
 *
 * Limit: nothing is known about a process of another world, and nothing at all
 * without `/proc`.
 */
import { readFileSync, readlinkSync } from "node:fs"

/** What identifies a process. */
export interface Process {
  readonly pid: number
  /** Its start, in clock ticks since boot. Null without `/proc`. */
  readonly started: string | null
  /** The id of the boot and of the pid namespace. Null without `/proc`. */
  readonly world: string | null
}

const read = (f: () => string): string | null => {
  try {
    return f()
  } catch {
    return null
  }
}

/** The state and the start of a process. The name before them may contain spaces and parentheses. */
const stat = (pid: number) => {
  const text = read(() => readFileSync(`/proc/${pid}/stat`, "utf8"))
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ")
  return { state: fields?.[0] ?? null, started: fields?.[19] ?? null }
}

/** This process. */
export const self = (): Process => ({
  pid: process.pid,
  started: stat(process.pid).started,
  world: read(() =>
    `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${readlinkSync("/proc/self/ns/pid")}`
  )
})

/** Whether a pid is in use. The process may hide its `/proc` entry (proc(5), `hidepid`). */
const isThere = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (cause) {
    return !(cause instanceof Error && "code" in cause && cause.code === "ESRCH")
  }
}

/** Whether a process is certainly dead. A zombie counts as dead. */
export const isDead = (other: Process, seenBy: Process): boolean => {
  if (other.started === null || other.world === null || other.world !== seenBy.world) return false
  const { started, state } = stat(other.pid)
  if (started === null) return !isThere(other.pid)
  return started !== other.started || state === "Z" || state === "X"
}

/** Whether a process is from an earlier boot, and so certainly dead. */
export const isOfFormerBoot = (other: Process, seenBy: Process): boolean => {
  const [boot, ofSeer] = [other, seenBy].map(({ world }) => world?.split(" ")[0])
  return boot !== undefined && ofSeer !== undefined && boot !== ofSeer
}
