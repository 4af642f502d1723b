/** The completions that the command prints for bash complete its commands, flags and choices. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { run } from "./command.ts"

/** The completions that bash offers after the last word, as if Tab was pressed. */
const offered = (script: string, ...words: ReadonlyArray<string>): ReadonlyArray<string> => {
  const quoted = words.map((word) => `'${word}'`)
  const [last, before] = [quoted.at(-1)!, quoted.at(-2)!]
  const { stderr, stdout } = spawnSync("bash", [
    "--norc",
    "-c",
    [
      script,
      `COMP_WORDS=(${quoted.join(" ")}) COMP_CWORD=${words.length - 1} COMP_LINE="${words.join(" ")}"`,
      `COMP_POINT=\${#COMP_LINE}`,
      `_backq backq ${last} ${before}`,
      `printf '%s\\n' "\${COMPREPLY[@]}"`
    ].join("\n")
  ], { encoding: "utf8" })
  assert.strictEqual(stderr, "")
  return stdout.split("\n").map((word) => word.trim()).filter((word) => word !== "")
}

describe("completions", () => {
  it.live("bash completes commands, flags and choices", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run(["--completions", "bash"])
      assert.strictEqual(code, 0)
      assert.includeMembers([...offered(stdout, "backq", "p")], ["publish", "peek", "pause"])
      assert.deepStrictEqual(offered(stdout, "backq", "que"), ["queues"])
      assert.deepStrictEqual(offered(stdout, "backq", "work", "proc"), ["process"])
      assert.deepStrictEqual(offered(stdout, "backq", "peek", "--sta"), ["--state"])
      assert.deepStrictEqual(offered(stdout, "backq", "peek", "--state", "bu"), ["buried"])
      // then bash offers files
      assert.deepStrictEqual(offered(stdout, "backq", "publish", "apns", "--tokens", "dev"), [])
      assert.match(stdout, /^complete -o default -F _backq backq$/m)
    }))

  it.live.each(["zsh", "fish"])("%s is given a script that knows the commands", (shell) =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run(["--completions", shell])
      assert.strictEqual(code, 0)
      for (const command of ["publish", "work", "queues", "drain", "doctor"]) assert.include(stdout, command)
    }))
})
