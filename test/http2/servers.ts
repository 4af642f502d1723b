/** Real HTTP/2 servers for the tests. Each ends with its scope. */
import * as Effect from "effect/Effect"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { find } from "../../scripts/servers.ts"
import { certificates } from "../beanstalk/certificates.ts"
import { freePort, listening } from "../beanstalk/servers.ts"

/** Is a program missing, where its absence is allowed? */
export const isMissing = (program: string): boolean => find(program) === undefined && process.env["CI"] !== "true"

const exited = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) resume(Effect.void)
    else child.once("exit", () => resume(Effect.void))
  })

/** Runs a program until the scope ends. */
export const run = Effect.fnUntraced(function*(program: string, args: ReadonlyArray<string>, port: number) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(find(program) ?? program, args, { stdio: ["ignore", "ignore", "pipe"] })
      child.on("error", () => {})
      return child
    }),
    (child) => {
      child.kill("SIGKILL")
      return exited(child)
    }
  )
  yield* listening(port)
  return child
})

/** Writes files into a folder. */
export const write = (folder: string, files: Record<string, string>): void => {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
}

/** nghttpd, which serves files: 200 for those that are there, 404 for all others. */
export const nghttpd = Effect.fnUntraced(function*(files: Record<string, string>, ...options: ReadonlyArray<string>) {
  const certs = yield* certificates
  const port = yield* freePort
  write(certs.path("htdocs"), files)
  const own = [certs.path("server.key"), certs.path("server.crt")]
  yield* run("nghttpd", ["-a", "127.0.0.1", "-d", certs.path("htdocs"), ...options, String(port), ...own], port)
  return { port, certs }
})
