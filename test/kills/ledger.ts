/**
 * The book that processes keep while they are killed, and its audit.
 *
 * Every process appends to one file, a line for each thing that happened, so
 * that the order of the lines is the order of events. The process to kill is
 * written down before, so that what comes after a kill can be told from what
 * comes without one.
 */
import { openSync, readFileSync, writeSync } from "node:fs"

/** An entry: the event, its subject and its process. */
export type Word =
  /** The broker acknowledged the put to the publisher. */
  | "put"
  /** A handler begins, and its result. */
  | "start"
  | "handled"
  | "failed"
  /** The broker acknowledged the settlement to the worker. */
  | "done"
  | "retried"
  | "buried"
  /** Any other outcome; none is expected. */
  | "odd"

/** Opens the book for one process. */
export const open = (file: string) => {
  const fd = openSync(file, "a")
  return {
    write: (word: Word, id: string) => void writeSync(fd, `${word} ${id} ${process.pid}\n`),
    /** Says that a process will be killed now. */
    writeKill: (role: Role, pid: number) => void writeSync(fd, `kill ${role} ${pid}\n`)
  }
}

export type Role = "feed" | "serve"

/** Reads the book. A line that its writer could not finish would be found here. */
export const read = (file: string): ReadonlyArray<string> => {
  const text = readFileSync(file, "utf8")
  return text.split("\n").slice(0, -1)
}

interface Entry {
  put: boolean
  running: string | undefined
  handled: string | undefined
  settled: "done" | "buried" | undefined
}

/** What the book and the broker say together. */
export interface Audit {
  /** What must not have happened. */
  readonly violations: ReadonlyArray<string>
  readonly put: number
  readonly done: number
  readonly buried: number
  readonly waiting: number
  readonly kills: Record<Role, number>
  /** Handled and gone, by a worker that was killed before it could write down the answer. */
  readonly unanswered: number
  /** There, or run, by a publisher that was killed before it could write down the answer. */
  readonly unprinted: number
}

/** Compares the book with the jobs that the broker still has: their ids, and whether they are buried. */
export const audit = (lines: ReadonlyArray<string>, left: ReadonlyMap<string, "buried" | "waiting">): Audit => {
  const jobs = new Map<string, Entry>()
  const killed = new Map<string, Role>()
  const violations: Array<string> = []
  const entryOf = (id: string): Entry => {
    let entry = jobs.get(id)
    if (entry === undefined) {
      jobs.set(id, entry = { put: false, running: undefined, handled: undefined, settled: undefined })
    }
    return entry
  }
  for (const line of lines) {
    const [word, id, pid, ...rest] = line.split(" ") as [Word | "kill", string, string]
    const wrong = (what: string) => violations.push(`${line}: ${what}`)
    if (pid === undefined || rest.length > 0) wrong("is not a whole line")
    if (word === "kill") {
      killed.set(pid, id as Role)
      continue
    }
    const entry = entryOf(id)
    const isAlive = (other: string | undefined) => other !== undefined && !killed.has(other)
    switch (word) {
      case "put":
        if (entry.put) wrong("an id comes twice")
        entry.put = true
        break
      case "start":
        if (entry.settled !== undefined) wrong(`runs after it was ${entry.settled}`)
        if (isAlive(entry.running)) wrong(`runs already in ${entry.running}`)
        if (isAlive(entry.handled)) wrong(`was handled by ${entry.handled}, which is alive`)
        entry.running = pid
        entry.handled = undefined
        break
      case "handled":
      case "failed":
        if (entry.running !== pid) wrong(`runs in ${entry.running} by now`)
        entry.running = undefined
        if (word === "handled") entry.handled = pid
        break
      case "done":
        if (entry.handled !== pid) wrong(`was handled by ${entry.handled}`)
        if (entry.settled !== undefined) wrong(`was ${entry.settled} already`)
        entry.settled = "done"
        break
      case "buried":
        if (entry.settled !== undefined) wrong(`was ${entry.settled} already`)
        entry.settled = "buried"
        break
      case "retried":
        break
      default:
        wrong("is not expected")
    }
  }
  for (const id of left.keys()) entryOf(id)
  const counts = { put: 0, done: 0, buried: 0, waiting: 0, unanswered: 0, unprinted: 0 }
  for (const [id, { handled, put, settled }] of jobs) {
    const state = left.get(id)
    if (put) counts.put++
    else counts.unprinted++
    if (state === undefined) {
      if (settled === "done") counts.done++
      else if (settled === "buried") violations.push(`${id} was buried and is gone`)
      else if (handled !== undefined && killed.get(handled) === "serve") counts.unanswered++
      else violations.push(`${id} is lost`)
    } else {
      counts[state]++
      if (settled === "done") violations.push(`${id} was done and is there`)
      if (settled === "buried" && state !== "buried") violations.push(`${id} was buried and is ${state}`)
    }
  }
  const kills = { feed: 0, serve: 0 }
  for (const role of killed.values()) kills[role]++
  return { violations, kills, ...counts }
}
