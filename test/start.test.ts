/** `npm start`, as lines and on a terminal. */
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { allow, withPrograms } from "./support/limits.ts"

allow(withPrograms)

const script = join(import.meta.dirname, "..", "scripts", "start.ts")

/** Runs it in a folder of its own, with nothing set. */
const start = async (command: string, ...args: ReadonlyArray<string>): Promise<string> => {
  const cwd = mkdtempSync(join(tmpdir(), "backq-start-"))
  const { BACKQ_BROKER: _, ...env } = process.env
  try {
    // Another exit code than 0 is an error.
    const { stdout } = await promisify(execFile)(command, args, { cwd, env, timeout: 60_000 })
    assert.isTrue(existsSync(join(cwd, "backq.db")))
    return stdout
  } finally {
    rmSync(cwd, { recursive: true })
  }
}

const summary = /11 jobs in \d+\.\d s: 9 done, 2 buried with their reason, none lost/

describe.concurrent("npm start", () => {
  it("prints a line for each change, and what to try next", async () => {
    const output = await start(process.execPath, script)
    for (
      const line of [
        /^process that succeeds +running$/m,
        /^process that succeeds +done +\S/m,
        /^process that fails twice +retry +again in 1s: .*exit code 7/m,
        /^process that fails twice +done +attempt 3: connected$/m,
        /^process that always fails +buried +attempt 4 was the last: .*No such file or directory$/m,
        /^program that is missing +buried +can't start no-such-program/m,
        /^process delayed by 3 seconds +waiting +ready in 3 seconds$/m,
        /^process delayed by 3 seconds +done +\d\d:\d\d:\d\d$/m,
        /^push to two devices +done +accepted for 2 devices$/m,
        /^push to an Android device +done +accepted for 1 device$/m,
        /^push to a browser +done +accepted for 1 device$/m,
        /^push to a dead token +done +its token is dead/m,
        /^report of the dead token +done +deaddead\.\.\. is Unregistered/m,
        summary,
        /backq -- peek demo --state buried$/m
      ]
    ) assert.match(output, line)
    assert.notInclude(output, "\x1b")
  })

  it("updates a table in place on a terminal", async () => {
    const output = await start("script", "-qec", `"${process.execPath}" "${script}"`, "/dev/null")
    assert.include(output, "\x1b[11A\x1b[J")
    assert.isTrue(output.lastIndexOf("\x1b[?25h") > output.lastIndexOf("\x1b[11A"), "the cursor is shown again")
    assert.match(output, summary)
    const last = output.slice(output.lastIndexOf("\x1b[11A"), output.lastIndexOf("\x1b[?25h"))
    assert.strictEqual(last.match(/✔/g)?.length, 9)
    assert.strictEqual(last.match(/✘/g)?.length, 2)
  })
})
