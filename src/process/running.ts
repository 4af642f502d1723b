/**
 * The process groups of this program. They end before the program ends.
 *
 * The broker delivers a job again when its worker is gone. A process that the worker left
 * behind would then run twice. So the groups get SIGTERM and a moment later SIGKILL
 * whenever the program ends: by `process.exit`, by an uncaught error, or by a signal
 * without another listener, which then ends the program as usual.
 *
 * When Ctrl-Z stops the program, it stops the groups too.
 *
 * Limits: SIGSTOP can't be handled. SIGKILL, an abort of Node.js and a loss of power leave
 * no time. Groups that were started with `detach` are not tracked.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as ProcessGroup from "./processGroup.ts"

const groups = new Set<number>()

/** The time between SIGTERM and SIGKILL when the program ends at once. */
const graceMillis = 100

/**
 * The signals that end a program without a listener, and that terminals, service
 * managers, watchdogs, CPU limits, alarms and development tools send.
 */
const ending = [
  "SIGABRT",
  "SIGALRM",
  "SIGHUP",
  "SIGINT",
  "SIGPWR",
  "SIGQUIT",
  "SIGTERM",
  "SIGUSR2",
  "SIGVTALRM",
  "SIGXCPU"
] as const

let isEnding = false

/** Whether the program ends at once. Then the end of a process does not settle its job. */
export const isOver = (): boolean => isEnding

/** Sends a signal to all groups. */
const signalAll = (name: NodeJS.Signals): void => {
  for (const group of groups) ProcessGroup.signal(group, name)
}

/** Sends SIGTERM to all groups, and marks that the program ends. */
export const terminateAll = (): void => {
  isEnding = true
  signalAll("SIGTERM")
}

/** Blocks the program, so that it settles and starts no job before it ends. */
const pause = (millis: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis)
}

/** Sends SIGTERM to all groups, and SIGKILL a moment later. */
const killAllNow = (): void => {
  if (groups.size === 0) return
  signalAll("SIGTERM")
  pause(graceMillis)
  signalAll("SIGKILL")
  groups.clear()
}

const onSignal = (name: NodeJS.Signals): void => {
  // A signal without a listener does not end the first process of a container.
  if (process.listenerCount(name) > 1 || process.pid === 1) return
  killAllNow()
  process.removeListener(name, onSignal)
  process.kill(process.pid, name)
}

/**
 * Stops the groups with the program on Ctrl-Z, since the leases of their jobs may expire
 * meanwhile. The program stops inside `process.kill` and continues from there. It
 * continues at once if no shell could continue it.
 */
const onStop = (): void => {
  if (process.listenerCount("SIGTSTP") > 1) return
  signalAll("SIGSTOP")
  process.removeListener("SIGTSTP", onStop)
  process.kill(process.pid, "SIGTSTP")
  process.on("SIGTSTP", onStop)
  signalAll("SIGCONT")
}

let isWatching = false

/** Installs the listeners. Call it before a group starts, so that a signal waits until the group is added. */
export const watch = (): void => {
  if (isWatching) return
  isWatching = true
  process.on("exit", killAllNow)
  for (const name of ending) process.on(name, onSignal)
  process.on("SIGTSTP", onStop)
}

export const add = (group: number): void => {
  groups.add(group)
}

/** Removes a group without processes. */
export const remove = (group: number): void => {
  groups.delete(group)
}
