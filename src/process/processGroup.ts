/**
 * Process groups: checks whether one runs, and sends it signals.
 *
 * A process that leaves its group (a daemon that calls `setsid`) is not tracked. The
 * system may reuse a group's number after its last process is gone. So signal a group only
 * while its leader is known to live, or right after its end.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as NodeFs from "node:fs"

/** Sends a signal to every process of a group; 0 sends none. Returns whether the group exists, with zombies. */
export const signal = (group: number, name: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(-group, name)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

/**
 * Whether a process of the group is running.
 *
 * A zombie is not running. In a container without an init, ended orphans stay zombies,
 * because process 1 does not collect them. kill(2) does not distinguish them, but /proc
 * does.
 */
export const isRunning = (group: number): boolean => {
  if (!signal(group, 0)) return false
  try {
    return NodeFs.readdirSync("/proc").some((name) => /^\d+$/.test(name) && isMember(name, group))
  } catch {
    return true
  }
}

// proc_pid_stat(5): "pid (comm) state ppid pgrp ...", where comm may hold anything.
const isMember = (pid: string, group: number): boolean => {
  try {
    const stat = NodeFs.readFileSync(`/proc/${pid}/stat`, "latin1")
    const [state, , pgrp] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return pgrp === String(group) && state !== "Z" && state !== "X"
  } catch {
    return false
  }
}
