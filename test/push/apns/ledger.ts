/**
 * The book that workers of push jobs keep while they are killed, and its audit
 * against what the server saw.
 *
 * All append to one file, so that the order of the lines is the order of
 * events. Jobs are known by the id of their envelope; pushes that are tried
 * again as a new job are counted with the job that they came from.
 */
import { openSync, readFileSync, writeSync } from "node:fs"
import type { Push } from "../../../src/testing/apns/push.ts"

/** Opens the book. Words are `start`, an outcome's tag, and `kill`, before a process is killed. */
export const open = (path: string) => {
  const fd = openSync(path, "a")
  return {
    write: (word: string, id: string, pid: number) => void writeSync(fd, `${word} ${id} ${pid}\n`),
    read: () => readFileSync(path, "utf8").split("\n").slice(0, -1)
  }
}

/** The expected work, and the observed work. */
export interface Evidence {
  /** The tokens of each job. No token is in two jobs. */
  readonly jobs: ReadonlyMap<string, ReadonlyArray<string>>
  readonly dead: ReadonlySet<string>
  readonly lines: ReadonlyArray<string>
  /** What the server saw, in order. */
  readonly pushes: ReadonlyArray<Pick<Push, "target" | "status">>
  /** The tokens that the application received. */
  readonly reported: ReadonlyArray<string>
}

export interface Audit {
  /** What must not have happened. */
  readonly violations: ReadonlyArray<string>
  /** Live tokens that have their push. */
  readonly accepted: number
  /** The devices with a push more than once: their job ran at a kill. */
  readonly again: number
  /** Dead tokens that were reported. */
  readonly dead: number
  /** Jobs that were under way at a kill. */
  readonly cut: number
  /** Outcomes by their tag. */
  readonly outcomes: Record<string, number>
}

const originOf = (id: string): string => id.replace(/#after-\d+$/, "")

/** How often each job was under way when its worker was killed, and the outcomes. */
const follow = (lines: ReadonlyArray<string>) => {
  const running = new Map<string, Set<string>>()
  const cuts = new Map<string, number>()
  const outcomes: Record<string, number> = {}
  const killed = new Set<string>()
  const cut = (origin: string) => cuts.set(origin, (cuts.get(origin) ?? 0) + 1)
  for (const line of lines) {
    const [word = "", id = "", pid = ""] = line.split(" ")
    let own = running.get(pid)
    if (own === undefined) running.set(pid, own = new Set())
    if (word === "start") {
      // it may go on for a moment after the kill was written down
      if (killed.has(pid)) cut(originOf(id))
      else own.add(id)
    } else if (word === "kill") {
      killed.add(pid)
      for (const origin of new Set(Array.from(own, originOf))) cut(origin)
      own.clear()
    } else {
      own.delete(id)
      outcomes[word] = (outcomes[word] ?? 0) + 1
    }
  }
  const open = Array.from(running.values()).flatMap((own) => Array.from(own))
  return { cuts, outcomes, open }
}

/** Whether all begun work is settled or its worker killed, and that number of jobs is buried. */
export const isSettled = (lines: ReadonlyArray<string>, buried: number): boolean => {
  const { open, outcomes } = follow(lines)
  return open.length === 0 && (outcomes["Buried"] ?? 0) >= buried
}

/** Compares the book with what the server saw. */
export const audit = ({ dead, jobs, lines, pushes, reported }: Evidence): Audit => {
  const { cuts, open, outcomes } = follow(lines)
  const violations = open.map((id) => `${id} was begun and not settled`)
  const origins = new Map(Array.from(jobs).flatMap(([id, tokens]) => tokens.map((token) => [token, id] as const)))
  const successes = new Map<string, number>()
  for (const { status, target } of pushes) {
    const origin = origins.get(target)
    const before = successes.get(target) ?? 0
    if (origin === undefined) violations.push(`${target} is of no job`)
    else if (before > 0 && !cuts.has(origin)) violations.push(`${target} was pushed to after its success`)
    if (status === 200) successes.set(target, before + 1)
  }
  const told = new Set(reported)
  for (const token of told) if (!dead.has(token)) violations.push(`${token} was reported and is alive`)
  let again = 0
  for (const [token, origin] of origins) {
    const times = successes.get(token) ?? 0
    if (dead.has(token)) {
      if (!told.has(token)) violations.push(`${token} is dead and was not reported`)
    } else if (times === 0) violations.push(`${token} is lost`)
    else if (times > 1 + (cuts.get(origin) ?? 0)) violations.push(`${token} was accepted ${times} times`)
    if (times > 1) again++
  }
  return { violations, accepted: successes.size, again, dead: told.size, cut: cuts.size, outcomes }
}
