/**
 * What `backq doctor` judges: settings that lose work, and queues that need
 * somebody. Pure: what was seen comes in, findings come out, each with what to
 * do.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Envelope from "../../Envelope.ts"
import type { BrokerStats, ListedJob } from "../../Inspector.ts"
import { safeLine } from "../../internal/text.ts"
import { ProcessJob } from "../../process/index.ts"
import type { QueueNumbers } from "./numbers.ts"
import { jobs as countJobs, shortDuration } from "./text.ts"

/** An error loses work or keeps it from being done, a warning may. */
export type Level = "error" | "warning" | "ok"

/** Something that was found. */
export interface Finding {
  readonly level: Level
  /** Which rule found it, for machines. */
  readonly check: string
  readonly queue: string | undefined
  readonly message: string
  /** What to do; absent when all is well. */
  readonly todo: string | undefined
}

const finding = (level: Level, check: string, message: string, todo?: string, queue?: string): Finding => ({
  level,
  check,
  queue,
  message,
  todo
})

// -----------------------------------------------------------------------------
// The broker
// -----------------------------------------------------------------------------

/** The broker answers; how fast, and what it is. */
export const ofConnection = (millis: number, version: string): Finding =>
  finding("ok", "connection", `it answers within ${millis} ms; version ${safeLine(version)}`)

const versionOf = (text: string): readonly [number, number] | undefined => {
  const match = /^"?(\d+)\.(\d+)/.exec(text)
  return match === null ? undefined : [Number(match[1]), Number(match[2])]
}

/** Is this the address of the machine itself? */
const isLocal = (host: string) => /^(localhost|127(\.\d+){3}|\[?::1\]?)$/.test(host)

/** An envelope alone has about 200 bytes. */
const tooSmall = 1024
/** What a push to a phone takes, with its tokens and its options, or a process with its input. */
const ample = 16_384

/** How large a job may be. `raise` says how this broker's limit is raised. */
export const ofJobSize = ({ maxJobSize }: BrokerStats, raise: string): ReadonlyArray<Finding> => {
  if (maxJobSize >= ample) return []
  return maxJobSize < tooSmall
    ? [finding(
      "error",
      "job size",
      `a job may have ${maxJobSize} bytes, and an envelope alone has about 200: most jobs are refused`,
      raise
    )]
    : [finding(
      "warning",
      "job size",
      `a job may have ${maxJobSize} bytes: a push with its tokens, or a process with its input, may be refused`,
      raise
    )]
}

/** beanstalkd: what it says of itself, and the way to it. */
export const ofBeanstalkd = (
  stats: BrokerStats,
  way: { readonly host: string; readonly tls: boolean }
): ReadonlyArray<Finding> => {
  const found: Array<Finding> = []
  found.push(
    stats.durable
      ? finding("ok", "durability", "jobs are kept in a log on disk (-b)")
      : finding(
        "error",
        "durability",
        "beanstalkd runs without -b: a restart or crash of it loses all jobs",
        "start it with -b DIR, on a disk; -f 0 also survives a loss of power"
      )
  )
  if (stats.draining) {
    found.push(
      finding("error", "draining", "beanstalkd is in drain mode and takes no jobs", "restart it to end that")
    )
  }
  found.push(...ofJobSize(stats, "start it with a larger -z, or without: then it is 65,535 bytes"))
  const version = versionOf(stats.version)
  if (version !== undefined && (version[0] < 1 || version[0] === 1 && version[1] < 12)) {
    found.push(
      finding(
        "warning",
        "version",
        `beanstalkd ${safeLine(stats.version)} is old: bury and move of single jobs need 1.12`,
        "upgrade it to 1.13"
      )
    )
  }
  if (!way.tls && !isLocal(way.host)) {
    found.push(
      finding(
        "warning",
        "network",
        `the way to ${way.host} is not encrypted: who can reach it can read, publish and delete jobs`,
        "keep it on a private network, or put TLS before it and use beanstalks://"
      )
    )
  }
  return found
}

/** What was seen of a file and its folder. */
export interface FileSeen {
  readonly path: string
  readonly durability: "full" | "normal"
  /** Permission bits of the file. */
  readonly mode: number
  /** Does the file belong to this user? */
  readonly isOwn: boolean
  /** May other users enter all folders that lead to the file? */
  readonly isReachable: boolean
  /** May other users put another file in its place? */
  readonly isReplaceable: boolean
  /** Bytes of the write-ahead log. */
  readonly logSize: number
  /** Bytes that this user may still write, and bytes of the disk. */
  readonly free: number
  readonly size: number
  /** The file system's number, as statfs(2) has it. */
  readonly type: number
}

// statfs(2)
const networkTypes = new Map([[0x6969, "NFS"], [0xff534d42, "SMB"], [0xfe534d42, "SMB"], [0x517b, "SMB"]])
const memoryTypes = new Set([0x01021994, 0x858458f6])

const mebibyte = 1024 * 1024
const mib = (bytes: number) => `${Math.round(bytes / mebibyte)} MiB`

/** A file of SQLite: how it is opened, and where it lies. */
export const ofFile = (seen: FileSeen): ReadonlyArray<Finding> => {
  const found: Array<Finding> = []
  found.push(
    seen.durability === "full"
      ? finding("ok", "durability", "an accepted job survives a loss of power (durability full)")
      : finding(
        "warning",
        "durability",
        "with durability=normal a loss of power may undo the last moments",
        "leave it out of the URL, unless that is meant"
      )
  )
  const network = networkTypes.get(seen.type >>> 0)
  if (network !== undefined) {
    found.push(
      finding(
        "error",
        "disk",
        `the file is on a network disk (${network}), where locks and the write-ahead log do not work`,
        "move it to a local disk"
      )
    )
  }
  if (memoryTypes.has(seen.type >>> 0)) {
    found.push(
      finding("warning", "disk", "the file is in memory (tmpfs): a reboot loses all jobs", "move it to a disk")
    )
  }
  const part = seen.size === 0 ? 1 : seen.free / seen.size
  if (seen.free < 64 * mebibyte || part < 0.05) {
    found.push(
      finding(
        seen.free < 16 * mebibyte ? "error" : "warning",
        "disk",
        `the disk is nearly full: ${mib(seen.free)} are free (${Math.round(part * 100)} %)`,
        "free space: on a full disk no job is accepted"
      )
    )
  }
  if (seen.logSize > 256 * mebibyte) {
    found.push(
      finding(
        "warning",
        "log",
        `the write-ahead log has grown to ${mib(seen.logSize)}`,
        "look for a program that keeps a transaction open on the file, and end it"
      )
    )
  }
  const others = seen.isReachable ? seen.mode & 0o7 : 0
  if ((others & 0o2) !== 0) {
    found.push(
      finding("error", "permissions", "everybody on this machine can write to the file", `chmod o-rw ${seen.path}*`)
    )
  } else if ((others & 0o4) !== 0) {
    found.push(
      finding("warning", "permissions", "everybody on this machine can read the jobs", `chmod o-r ${seen.path}*`)
    )
  }
  if (seen.isReachable && seen.isReplaceable) {
    found.push(
      finding(
        "error",
        "permissions",
        "everybody on this machine can put another file in the place of this one",
        "take from others the right to write in its folder: chmod o-w"
      )
    )
  }
  if (!seen.isOwn) {
    found.push(
      finding(
        "warning",
        "permissions",
        "the file belongs to another user",
        "run publishers, workers and operators as one user, or give the group write access to file and folder"
      )
    )
  }
  return found
}

// -----------------------------------------------------------------------------
// Queues
// -----------------------------------------------------------------------------

const hour = Duration.hours(1)

/** One queue by its numbers. */
export const ofQueue = (queue: QueueNumbers): ReadonlyArray<Finding> => {
  const { buried, delayed, nextAge, pausedFor, ready, reserved, idleWorkers } = queue
  const found: Array<Finding> = []
  const add = (level: Level, check: string, message: string, todo: string) =>
    found.push(finding(level, check, message, todo, queue.queue))
  if (!Duration.isZero(pausedFor)) {
    add("warning", "paused", `it is paused for ${shortDuration(pausedFor)}`, `backq resume ${queue.queue}`)
  } else if (ready > 0 && idleWorkers === 0 && reserved === 0) {
    add("warning", "workers", `${countJobs(ready)} ready and nobody works on them`, "start a worker for this queue")
  } else if (nextAge !== undefined && Duration.isGreaterThan(nextAge, hour)) {
    add("warning", "backlog", `the next job has waited for ${shortDuration(nextAge)}`, "start more workers")
  }
  if (buried > 0) {
    const are = buried === 1 ? "is" : "are"
    add(
      "warning",
      "buried",
      `${countJobs(buried)} ${are} buried and ${buried === 1 ? "waits" : "wait"} for a decision`,
      `look with backq peek ${queue.queue} --state buried, then kick, move or delete`
    )
  }
  if (found.length === 0 && ready + delayed + reserved > 0) {
    found.push(finding("ok", "queue", `${countJobs(ready + delayed + reserved)} on their way`, undefined, queue.queue))
  }
  return found
}

// -----------------------------------------------------------------------------
// Jobs
// -----------------------------------------------------------------------------

/** How much clocks may differ before it matters. */
const maxSkew = 10_000

/** What is known when jobs are judged. */
export interface Context {
  /** Milliseconds since the epoch. */
  readonly now: number
  /** The names of the jobs that somebody works on; `undefined` when nobody said. */
  readonly known: ReadonlyArray<string> | undefined
}

/** Why one job needs attention. */
interface Trouble {
  readonly level: Level
  readonly check: string
  readonly what: string
  readonly todo: string
}

const decodeTimeout = Schema.decodeUnknownOption(Schema.Struct({ timeout: Schema.Finite }))

/** How long the process of a process job may run. */
const processTimeout = (name: string, payload: unknown): Option.Option<Duration.Duration> =>
  name === ProcessJob.ProcessJob.name
    ? Option.map(decodeTimeout(payload), ({ timeout }) => Duration.millis(timeout))
    : Option.none()

const troublesOf = (job: ListedJob, { known, now }: Context): ReadonlyArray<Trouble> => {
  const envelope = Envelope.decode(job.body)
  if (Result.isFailure(envelope)) {
    return [{
      level: "error",
      check: "body",
      what: `can't be read (${safeLine(envelope.failure)})`,
      todo: "give the worker a foreign decoder, or mend the publisher; until then workers bury them"
    }]
  }
  const { expiresAt, job: name, payload, publishedAt } = envelope.success
  const troubles: Array<Trouble> = []
  if (known !== undefined && !known.includes(name)) {
    troubles.push({
      level: "error",
      check: "unknown",
      what: `are called "${safeLine(name)}", which nobody is said to work on`,
      todo: "add a handler, or move them to the queue of those who have one"
    })
  }
  const timeout = processTimeout(name, payload)
  if (Option.exists(timeout, (timeout) => Duration.isGreaterThan(timeout, job.ttr))) {
    troubles.push({
      level: "warning",
      check: "ttr",
      what: "have a ttr that is shorter than their timeout",
      todo: "leave touch on in the workers, or publish with a longer --ttr: otherwise such a job runs twice at once"
    })
  }
  if (expiresAt !== undefined && expiresAt < now) {
    troubles.push({
      level: "warning",
      check: "expired",
      what: "are past their deadline and will not run",
      todo: "start more workers, or give jobs more time"
    })
  }
  // one that is behind looks like a job that was moved, whose age began anew
  const ahead = publishedAt === undefined ? 0 : publishedAt + Duration.toMillis(job.age) - now
  if (ahead > maxSkew) {
    troubles.push({
      level: "warning",
      check: "clock",
      what: `come from a clock that is ${shortDuration(Duration.millis(ahead))} ahead`,
      todo: "set the clocks of the machines by NTP: deadlines go by them"
    })
  }
  if (job.abandoned >= 2) {
    troubles.push({
      level: "warning",
      check: "abandoned",
      what: "were abandoned by their workers twice or more",
      todo: "look for workers that crash or hang in them, or for a ttr that is too short"
    })
  }
  return troubles
}

/** Some jobs of a queue. What several have in common is one finding, with one of them as an example. */
export const ofJobs = (queue: string, jobs: ReadonlyArray<ListedJob>, context: Context): ReadonlyArray<Finding> => {
  const groups = new Map<string, { readonly trouble: Trouble; readonly example: string; count: number }>()
  for (const job of jobs) {
    for (const trouble of troublesOf(job, context)) {
      const key = trouble.check === "clock" ? trouble.check : trouble.what
      const group = groups.get(key)
      if (group === undefined) groups.set(key, { trouble, example: job.id, count: 1 })
      else group.count++
    }
  }
  return Array.from(
    groups.values(),
    ({ count, example, trouble: { check, level, todo, what } }) =>
      finding(level, check, `${count} of ${countJobs(jobs.length)} looked at ${what}, as job ${example}`, todo, queue)
  )
}
