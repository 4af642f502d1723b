/**
 * Is a process of this machine still the one that it was?
 *
 * A pid alone may be another program's by now, so the time at which its
 * process started counts too (proc(5), `/proc/PID/stat`, field 22). Both mean
 * something only within one boot and one pid namespace, the "world"; of a
 * process of another world nothing is known. Without a `/proc` nothing is known
 * at all.
 */
import { readFileSync, readlinkSync } from "node:fs"

/** How a process is known. */
export interface Process {
  readonly pid: number
  /** When it started, in clock ticks since boot; null where that can't be known. */
  readonly started: string | null
  /** Within what the pid means something; null where that can't be known. */
  readonly world: string | null
}

const read = (f: () => string): string | null => {
  try {
    return f()
  } catch {
    return null
  }
}

/** The state and the start of a process. The name before them may hold spaces and parentheses. */
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

/** A process may be there and hide what it is (proc(5), `hidepid`). */
const isThere = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (cause) {
    return !(cause instanceof Error && "code" in cause && cause.code === "ESRCH")
  }
}

/** Is a process known to be dead, as seen by another? A zombie is dead. */
export const isDead = (other: Process, seenBy: Process): boolean => {
  if (other.started === null || other.world === null || other.world !== seenBy.world) return false
  const { started, state } = stat(other.pid)
  if (started === null) return !isThere(other.pid)
  return started !== other.started || state === "Z" || state === "X"
}

/** Is a process of before the last boot of this machine, and so certainly dead? */
export const isOfFormerBoot = (other: Process, seenBy: Process): boolean => {
  const [boot, ofSeer] = [other, seenBy].map(({ world }) => world?.split(" ")[0])
  return boot !== undefined && ofSeer !== undefined && boot !== ofSeer
}
