/**
 * Detects that the reader of a pipe has closed it. Otherwise a program that
 * writes seldom would notice that only at its next line.
 *
 * Node.js can't ask the pipe. On Linux, /proc shows the open files of this
 * user's processes. So a reader that was there and is gone has left. If /proc
 * hides the reader, because it belongs to another user or container, the next
 * line notices.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { readdirSync, readFileSync, readlinkSync } from "node:fs"

/** Whether a process has the pipe open for reading; `hidden` if /proc does not tell. */
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
  // a process that exists but hides its files may now belong to another user
  return attempt(() => readdirSync(`/proc/${pid}`)) === undefined ? "not" : "hidden"
}

const readersOf = (pipe: string): ReadonlyArray<string> =>
  (attempt(() => readdirSync("/proc")) ?? []).filter((name) =>
    /^\d+$/.test(name) && name !== String(process.pid) && look(pipe, name) === "reads"
  )

const lookEvery = "250 millis"

/** How often to look for the first reader: a shell may be slow to start it. */
const maxLooks = 8

/** Completes when all known readers of a descriptor of this process are gone. */
export const left = (fd: number): Effect.Effect<void> =>
  Effect.gen(function*() {
    const pipe = attempt(() => readlinkSync(`/proc/self/fd/${fd}`))
    if (pipe === undefined || !/^pipe:\[\d+\]$/.test(pipe)) return yield* Effect.never
    let readers = readersOf(pipe)
    for (let i = 0; i < maxLooks && readers.length === 0; i++) {
      yield* Effect.sleep(lookEvery)
      readers = readersOf(pipe)
    }
    if (readers.length === 0) return yield* Effect.never
    // twice, since a reader may just be moving its descriptor to another number
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
