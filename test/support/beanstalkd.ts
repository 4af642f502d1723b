/** Real and scripted beanstalkds for the tests. Each ends with its scope. */
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type ChildProcess, spawn } from "node:child_process"
import type * as Net from "node:net"
import { find } from "../../scripts/test/servers.ts"
import { freePort, listening, scripted } from "./network.ts"

const program = find("beanstalkd")

/** For tests that need the real server: without it they are skipped, unless the environment requires it. */
export const isMissing = program === undefined && process.env["CI"] !== "true"

/** Registers a test that needs the real server. */
export const real = it.live.skipIf(isMissing)

const exited = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) resume(Effect.void)
    else child.once("exit", () => resume(Effect.void))
  })

/** A real beanstalkd on a port of its own. */
export const beanstalkd = Effect.fnUntraced(function*(options: ReadonlyArray<string> = []) {
  const port = yield* freePort
  let child: ChildProcess | undefined
  const start = Effect.gen(function*() {
    child = spawn(program ?? "beanstalkd", ["-l", "127.0.0.1", "-p", String(port), ...options], { stdio: "ignore" })
    child.on("error", () => {})
    yield* listening(port)
  })
  const signal = (name: NodeJS.Signals) => Effect.sync(() => child?.kill(name))
  const kill = Effect.andThen(
    signal("SIGKILL"),
    Effect.suspend(() => child?.pid === undefined ? Effect.void : exited(child))
  )
  yield* Effect.acquireRelease(start, () => kill)
  return { port, kill, start, signal, pid: () => child!.pid! }
})

const counters = [
  "current-jobs-urgent",
  "current-jobs-ready",
  "current-jobs-reserved",
  "current-jobs-delayed",
  "current-jobs-buried",
  "job-timeouts",
  "total-jobs",
  "current-tubes",
  "current-connections",
  "current-producers",
  "current-workers",
  "current-waiting",
  "total-connections",
  "pid",
  "rusage-utime",
  "rusage-stime",
  "uptime",
  "binlog-oldest-index",
  "binlog-current-index",
  "binlog-records-migrated",
  "binlog-records-written",
  "binlog-max-size"
]

/** A body with the line that announces it. */
export const ok = (body: string) => `OK ${body.length}\r\n${body}\r\n`

/** Statistics as the server writes them. */
export const dictionary = (values: Record<string, unknown>) =>
  ok(`---\n${Object.entries(values).map(([key, value]) => `${key}: ${value}\n`).join("")}`)

/** An answer to `stats`. */
export const statsReply = (changes: Record<string, unknown> = {}) =>
  dictionary({
    ...Object.fromEntries(counters.map((key) => [key, 0])),
    "max-job-size": 65535,
    version: "\"1.13\"",
    draining: false,
    id: "x",
    ...changes
  })

/** An answer to `stats-tube`. */
export const tubeReply = (name: string, changes: Record<string, unknown> = {}) =>
  dictionary({
    name,
    ...Object.fromEntries(
      [
        ...counters.slice(0, 5),
        "total-jobs",
        "current-using",
        "current-watching",
        "current-waiting",
        "cmd-delete",
        "cmd-pause-tube",
        "pause",
        "pause-time-left"
      ].map((key) => [key, 0])
    ),
    ...changes
  })

/** An answer to `stats-job`. */
export const jobReply = (id: string, changes: Record<string, unknown> = {}) =>
  dictionary({
    id,
    tube: "\"q\"",
    state: "reserved",
    pri: 1024,
    age: 5,
    delay: 0,
    ttr: 60,
    "time-left": 59,
    file: 0,
    reserves: 1,
    timeouts: 0,
    releases: 0,
    buries: 0,
    kicks: 0,
    ...changes
  })

/**
 * A server that greets as the real one does, and answers by a table. It records the commands, and the number of connections.
 */
export const answering = Effect.fnUntraced(
  function*(
    table: (line: string, socket: Net.Socket) => string | undefined,
    stats: Record<string, unknown> = {}
  ) {
    const told: Array<string> = []
    let connections = 0
    const watching = (line: string) => /^(watch|ignore) /.test(line) ? "WATCHING 1\r\n" : undefined
    const port = yield* scripted((socket) => {
      connections++
      let body = false
      socket.on("data", (data) => {
        for (const line of data.toString().split("\r\n").slice(0, -1)) {
          if (body) {
            body = false
            continue
          }
          told.push(line)
          body = line.startsWith("put ")
          const reply = line === "stats" ? statsReply(stats) : table(line, socket) ?? watching(line)
          if (reply !== undefined) socket.write(reply)
        }
      })
    })
    return { told, port, connections: () => connections }
  }
)
