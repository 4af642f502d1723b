/** The real `backq` program, as a child process that ends with its scope. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { inject } from "vitest"
import { Broker } from "../../src/Broker.ts"
import * as BeanstalkBroker from "../../src/brokers/beanstalk/BeanstalkBroker.ts"
import { Inspector, type Services } from "../../src/Inspector.ts"
import { eventually } from "../support/eventually.ts"

export const bin = join(import.meta.dirname, "..", "..", "src", "cli", "bin.ts")

// `npm run soak` uses this outside of a test.
const bundle = process.env["VITEST"] === undefined ? undefined : inject("bundle")

/** The program to start: a bundle where the project of the test provides one. */
export const executable = bundle === undefined ? bin : join(bundle, "dist", "cli", "bin.js")

/** The variables of its environment. What Node.js keeps of a bundle is removed with it. */
export const environment = (): NodeJS.ProcessEnv =>
  bundle === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: join(bundle, "compiled") }

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Program {
  readonly ended: Effect.Effect<Ended>
  readonly stdout: () => string
  readonly stderr: () => string
  readonly signal: (name: NodeJS.Signals) => Effect.Effect<void>
}

/** Starts the program. */
export const start = Effect.fnUntraced(function*(
  args: ReadonlyArray<string>,
  input?: string | Uint8Array,
  env: Record<string, string> = {}
) {
  let stdout = ""
  let stderr = ""
  let result: Ended | undefined
  const waiting: Array<(ended: Effect.Effect<Ended>) => void> = []
  const ended = Effect.callback<Ended>((resume) => {
    if (result === undefined) waiting.push(resume)
    else resume(Effect.succeed(result))
  })
  const child: ChildProcess = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [executable, ...args], {
        stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
        env: { ...environment(), ...env }
      })
      child.stdin?.on("error", () => {}).end(input)
      child.stdout!.setEncoding("utf8").on("data", (text) => stdout += text)
      child.stderr!.setEncoding("utf8").on("data", (text) => stderr += text)
      child.once("close", (code) => {
        result = { code, stdout, stderr }
        for (const resume of waiting) resume(Effect.succeed(result))
      })
      return child
    }),
    (child) => Effect.andThen(Effect.sync(() => child.kill("SIGKILL")), ended)
  )
  const program: Program = {
    ended,
    stdout: () => stdout,
    stderr: () => stderr,
    signal: (name) => Effect.sync(() => child.kill(name))
  }
  return program
})

/** Runs the program to its end. */
export const run = (...args: Parameters<typeof start>) =>
  Effect.scoped(Effect.flatMap(start(...args), ({ ended }) => ended))

/** Starts a worker for the process queue of a server and waits until it takes jobs. */
export const worker = Effect.fnUntraced(function*(port: number, ...args: ReadonlyArray<string>) {
  const program = yield* start([
    "work",
    "process",
    "--broker",
    `beanstalk://127.0.0.1:${port}`,
    "--log-format",
    "json",
    ...args
  ])
  yield* eventually("the worker starts", () => program.stderr().includes("worker started"))
  return program
})

/** The lines of a program's JSON log. */
export const log = (program: Program): ReadonlyArray<{
  readonly message: string
  readonly level: string
  readonly annotations: Record<string, unknown>
}> => program.stderr().split("\n").slice(0, -1).filter((line) => line.startsWith("{")).map((line) => JSON.parse(line))

/** A look at a server, beside the program. */
export const look = (port: number): Effect.Effect<Services, never, Scope.Scope> =>
  Effect.map(Layer.build(BeanstalkBroker.layer({ port })), (context) => ({
    broker: Context.get(context, Broker),
    inspector: Context.get(context, Inspector)
  }))
