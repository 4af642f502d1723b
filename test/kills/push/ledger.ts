/**
 * The ledger of push jobs whose workers are killed, and its audit against what the
 * push service saw.
 *
 * All processes append to one file, so the order of its lines is the order of events.
 * A line names a delivery's targets, so the audit knows for each target how often its
 * delivery was under way at a kill. Only so often may a target get its push again.
 */
import { openSync, readFileSync, writeSync } from "node:fs"

/** Opens the ledger. */
export const open = (path: string) => {
  const fd = openSync(path, "a")
  const write = (...words: ReadonlyArray<string | number>) => void writeSync(fd, `${words.join(" ")}\n`)
  return {
    /** A delivery begins. */
    start: (id: string, pid: number, targets: ReadonlyArray<string>) => write("start", id, pid, targets.join(",")),
    /** A delivery is settled; `outcome` is its tag. */
    end: (id: string, pid: number, outcome: string) => write(outcome, id, pid),
    /** A process is about to be killed. */
    kill: (pid: number) => write("kill", "worker", pid)
  }
}

export const read = (path: string): ReadonlyArray<string> => readFileSync(path, "utf8").split("\n").slice(0, -1)

/** The expected work, and the observed work. */
export interface Evidence {
  /** The targets of all jobs. */
  readonly targets: ReadonlyArray<string>
  readonly dead: ReadonlySet<string>
  readonly lines: ReadonlyArray<string>
  /** What the push service saw, in order. */
  readonly pushes: ReadonlyArray<{ readonly target: string; readonly status: number | undefined }>
  /** The dead targets that the application got, with repetitions. */
  readonly reported: ReadonlyArray<string>
}

export interface Audit {
  /** What must not have happened. */
  readonly violations: ReadonlyArray<string>
  /** Targets that have their push. */
  readonly accepted: number
  /** Targets with more than one push: their delivery was under way at a kill. */
  readonly again: number
  /** Dead targets that the application got. */
  readonly dead: number
  /** Deliveries that were under way at a kill. */
  readonly cut: number
  /** Outcomes by their tag. */
  readonly outcomes: Readonly<Record<string, number>>
}

/** Which deliveries a kill cut off, for each target, which have no end, and the outcomes. */
const follow = (lines: ReadonlyArray<string>) => {
  const running = new Map<string, Map<string, ReadonlyArray<string>>>()
  const cutsOf = new Map<string, number>()
  const outcomes: Record<string, number> = {}
  const killed = new Set<string>()
  let cut = 0
  const cutOff = (targets: ReadonlyArray<string>) => {
    cut++
    for (const target of targets) cutsOf.set(target, (cutsOf.get(target) ?? 0) + 1)
  }
  for (const line of lines) {
    const [word = "", id = "", pid = "", names = ""] = line.split(" ")
    let own = running.get(pid)
    if (own === undefined) running.set(pid, own = new Map())
    if (word === "start") {
      // It may go on for a moment after the kill was written down.
      if (killed.has(pid)) cutOff(names.split(","))
      else own.set(id, names.split(","))
    } else if (word === "kill") {
      killed.add(pid)
      for (const targets of own.values()) cutOff(targets)
      own.clear()
    } else {
      own.delete(id)
      outcomes[word] = (outcomes[word] ?? 0) + 1
    }
  }
  const begun = Array.from(running.values()).flatMap((own) => Array.from(own.keys()))
  return { cut, cutsOf, outcomes, begun }
}

/** Whether all deliveries have an end, and that number of jobs is buried. */
export const isSettled = (lines: ReadonlyArray<string>, buried: number): boolean => {
  const { begun, outcomes } = follow(lines)
  return begun.length === 0 && (outcomes["Buried"] ?? 0) >= buried
}

const isAccepted = (status: number | undefined): boolean => status === 200 || status === 201

const countBy = (names: Iterable<string>): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

/** Compares the ledger with what the push service saw and the application got. */
export const audit = ({ dead, lines, pushes, reported, targets }: Evidence): Audit => {
  const { begun, cut, cutsOf, outcomes } = follow(lines)
  const violations = begun.map((id) => `${id} was begun and not settled`)
  const known = new Set(targets)
  /** How often a target may come again. */
  const allowed = (target: string) => cutsOf.get(target) ?? 0
  const acceptances = new Map<string, number>()
  for (const { status, target } of pushes) {
    const before = acceptances.get(target) ?? 0
    if (!known.has(target)) violations.push(`${target} is of no job`)
    else if (before > allowed(target)) violations.push(`${target} was pushed to after acceptance ${before}`)
    if (isAccepted(status)) acceptances.set(target, before + 1)
  }
  const told = countBy(reported)
  for (const [target, times] of told) {
    if (!dead.has(target)) violations.push(`${target} was reported and is alive`)
    else if (times > 1 + allowed(target)) violations.push(`${target} was reported ${times} times`)
  }
  let again = 0
  for (const target of known) {
    const times = acceptances.get(target) ?? 0
    if (dead.has(target)) {
      if (!told.has(target)) violations.push(`${target} is dead and was not reported`)
      if (times > 0) violations.push(`${target} is dead and was accepted`)
    } else if (times === 0) violations.push(`${target} is lost`)
    if (times > 1) again++
  }
  return { violations, accepted: acceptances.size, again, dead: told.size, cut, outcomes }
}
