/**
 * Has the reader of a pipe left? A program that writes seldom would learn it
 * only from its next line.
 *
 * Node.js has no way to ask the pipe. On Linux the processes of this user can be
 * seen in /proc with what they have open, so: a reader that was seen and is gone
 * has left. One that can't be seen, of another user or in another container, is
 * noticed at the next line.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { readdirSync, readFileSync, readlinkSync } from "node:fs"

/** A process has a pipe open for reading, has not, or does not let us see. */
type Seen = "reads" | "not" | "hidden"

const attempt = <A>(look: () => A): A | undefined => Result.getOrUndefined(Result.try(look))

const openFor = (pid: string, fd: string): number => {
  const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "latin1"))
  return Number.parseInt(flags?.[1] ?? "0", 8) & 3
}

const writeOnly = 1

const readsAs = (pipe: string, pid: string) => (fd: string): boolean =>
  attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`) === pipe && openFor(pid, fd) !== writeOnly) === true

const look = (pipe: string, pid: string): Seen => {
  const open = Result.try(() => readdirSync(`/proc/${pid}/fd`))
  if (Result.isSuccess(open)) return open.success.some(readsAs(pipe, pid)) ? "reads" : "not"
  // one that is there and hides may have become another user's
  return attempt(() => readdirSync(`/proc/${pid}`)) === undefined ? "not" : "hidden"
}

const readersOf = (pipe: string): ReadonlyArray<string> =>
  (attempt(() => readdirSync("/proc")) ?? []).filter((name) =>
    /^\d+$/.test(name) && name !== String(process.pid) && look(pipe, name) === "reads"
  )

const lookEvery = "250 millis"

/** Looks so often for a reader that was not seen yet: a shell may be slow to start it. */
const looks = 8

/** Completes when those who read what this process writes to a descriptor, and were seen, are gone. */
export const left = (fd: number): Effect.Effect<void> =>
  Effect.gen(function*() {
    const pipe = attempt(() => readlinkSync(`/proc/self/fd/${fd}`))
    if (pipe === undefined || !/^pipe:\[\d+\]$/.test(pipe)) return yield* Effect.never
    let readers = readersOf(pipe)
    for (let i = 0; i < looks && readers.length === 0; i++) {
      yield* Effect.sleep(lookEvery)
      readers = readersOf(pipe)
    }
    if (readers.length === 0) return yield* Effect.never
    // twice, since a descriptor may be about to get another number
    for (let absent = 0; absent < 2;) {
      yield* Effect.sleep(lookEvery)
      if (readers.some((pid) => look(pipe, pid) !== "not")) {
        absent = 0
        continue
      }
      const found = readersOf(pipe)
      if (found.length === 0) absent++
      else readers = found
    }
  })
