/** Processes that tests start, as the operating system sees them, if there is a `/proc`. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { existsSync, readFileSync } from "node:fs"
import { constants } from "node:os"

/** Whether there is a `/proc`. */
export const hasProc = existsSync("/proc/self/stat")

const read = (pid: number, file: string): string =>
  Option.getOrElse(Option.liftThrowable(() => readFileSync(`/proc/${pid}/${file}`, "latin1"))(), () => "")

/** The fields of proc_pid_stat(5) from the third on. None when there is no such process. */
const stat = (pid: number): ReadonlyArray<string> => {
  const text = read(pid, "stat")
  return text === "" ? [] : text.slice(text.lastIndexOf(")") + 2).split(" ")
}

/** What it does: `S` sleeps, `R` runs, `T` is stopped, `Z` has ended and is not collected. */
export const stateOf = (pid: number): string | undefined => stat(pid)[0]

/** Whether a process exists and has not ended. */
export const isRunning = (pid: number): boolean => !["Z", "X", undefined].includes(stateOf(pid))

/** Whether a signal is in one of the sets that proc_pid_status(5) shows. */
const isIn = (pid: number, set: "SigCgt" | "SigPnd" | "ShdPnd", signal: NodeJS.Signals): boolean => {
  const mask = new RegExp(`^${set}:\\s*([0-9a-f]+)$`, "m").exec(read(pid, "status"))?.[1]
  return mask !== undefined && (BigInt(`0x${mask}`) >> BigInt(constants.signals[signal] - 1) & 1n) === 1n
}

/** Whether the process listens to a signal. */
export const listens = (pid: number, signal: NodeJS.Signals): boolean => isIn(pid, "SigCgt", signal)

/** Sends a signal, and returns when it has arrived: one of the same kind before that would be lost. */
export const sendSignal = (pid: number, name: NodeJS.Signals): Effect.Effect<void> =>
  Effect.sync(() => {
    if (isRunning(pid)) process.kill(pid, name)
  }).pipe(
    Effect.andThen(Effect.repeat(Effect.sync(() => isIn(pid, "SigPnd", name) || isIn(pid, "ShdPnd", name)), {
      while: (isPending) => isPending,
      schedule: Schedule.spaced("1 millis")
    })),
    Effect.asVoid
  )

/** Waits until a process is idle: it sleeps, and used no CPU time between several checks. */
export const resting = (pid: number): Effect.Effect<void> => {
  let [calm, before] = [0, ""]
  const look = Effect.sync(() => {
    const [state, ...fields] = stat(pid)
    // utime and stime
    const worked = fields.slice(10, 12).join()
    calm = state === "S" && worked === before ? calm + 1 : 0
    before = worked
    return calm
  })
  return Effect.asVoid(Effect.repeat(look, { until: (calm) => calm === 5, schedule: Schedule.spaced("20 millis") }))
}
