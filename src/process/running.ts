/**
 * The process groups that this program runs, so that none outlives it.
 *
 * A job is handed out again as soon as its worker is gone: a process that the
 * worker left running would then run beside itself. So, however the program
 * ends while processes run, they end first: they get SIGTERM and a moment later
 * SIGKILL. That holds for `process.exit`, for an error that nobody catches, and
 * for a signal that nobody else in the program listens to, which then ends it
 * as it would have without us.
 *
 * A program that is stopped by Ctrl-Z stops them meanwhile.
 *
 * Limits: SIGSTOP can't be heard. SIGKILL, an abort of Node.js itself, and a loss
 * of power leave no time for it. Groups that were started with `detach` are let go
 * on purpose.
 */
// @effect-diagnostics nodeBuiltinImport:off
import * as ProcessGroup from "./processGroup.ts"

const groups = new Set<number>()

/** How long processes have between SIGTERM and SIGKILL when the program ends at once. */
const lastMillis = 100

/**
 * Signals that end a program that does not listen to them, and that somebody
 * sends: terminals, service managers and their watchdogs, limits of CPU time,
 * alarms, tools that restart a program while it is written.
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

/** Does the program end at once? Then a process that ends says nothing about its job. */
export const isOver = (): boolean => isEnding

/** Sends a signal to all groups. */
const signalAll = (name: NodeJS.Signals): void => {
  for (const group of groups) ProcessGroup.signal(group, name)
}

/** The program is to end at once: processes are asked to. */
export const end = (): void => {
  isEnding = true
  signalAll("SIGTERM")
}

/** Blocks the program: in its last moment it is to settle no job, and to start none. */
const pause = (millis: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis)
}

const endAll = (): void => {
  if (groups.size === 0) return
  signalAll("SIGTERM")
  pause(lastMillis)
  signalAll("SIGKILL")
  groups.clear()
}

const onSignal = (name: NodeJS.Signals): void => {
  // the first process of a container is not ended by a signal that it does not listen to
  if (process.listenerCount(name) > 1 || process.pid === 1) return
  endAll()
  process.removeListener(name, onSignal)
  process.kill(process.pid, name)
}

/**
 * Ctrl-Z stops the processes as well: the lease of their jobs ends meanwhile.
 * The program is stopped within its `process.kill`, and goes on from there; at
 * once where nobody could continue it.
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

/** Before a group is started: a signal that comes while it is has to wait until it was added. */
export const watch = (): void => {
  if (isWatching) return
  isWatching = true
  process.on("exit", endAll)
  for (const name of ending) process.on(name, onSignal)
  process.on("SIGTSTP", onStop)
}

/** A group was started. */
export const add = (group: number): void => {
  groups.add(group)
}

/** Nothing of a group is left. */
export const remove = (group: number): void => {
  groups.delete(group)
}
