/** The message of the test command before it installs servers. */
import { assert, describe, it } from "@effect/vitest"
import { sizesIn } from "../scripts/test/servers.ts"

describe("servers for tests", () => {
  it("the message has the sizes of apt-get before anything is installed", () => {
    const output = [
      "0 upgraded, 5 newly installed, 0 to remove and 138 not upgraded.",
      "Need to get 30.9 kB/1107 kB of archives.",
      "After this operation, 6341 kB of additional disk space will be used.",
      "Do you want to continue? [Y/n] N"
    ].join("\n")
    assert.strictEqual(sizesIn(output), "30.9 kB/1107 kB to fetch, 6341 kB on disk")
  })

  it("the message has no size if apt-get names none", () => {
    assert.strictEqual(sizesIn("E: Unable to locate package beanstalkd"), "")
  })
})
