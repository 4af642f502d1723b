import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { format } from "../../src/cli/commands/tail.ts"
import { safeJson } from "../../src/internal/text.ts"
import * as Lines from "../../src/tail/lines.ts"
import { Line } from "../../src/tail/TailEvent.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"

const fields = {
  at: 1764000000000,
  pid: 4711,
  outcome: "Retried",
  queue: "mail",
  jobId: "7",
  job: "send",
  id: "0193b4a0-0000-7000-8000-000000000000",
  attempt: 2,
  duration: 12,
  reason: "no route",
  delay: 2000
}

const decode = Schema.decodeUnknownResult(Line)

const lineOf = (more: object) => Hostile.bytesOf(`${JSON.stringify({ ...fields, ...more })}\n`)

/** What a follower does with the bytes of a socket, in pieces of some size. */
const follow = (bytes: Uint8Array, size: number): Result.Result<unknown, unknown> => {
  const cut = Lines.cutter()
  for (let at = 0; at < bytes.length; at += size) {
    const lines = cut(bytes.subarray(at, at + size))
    if (Result.isFailure(lines)) return lines
    for (const line of lines.success) {
      const event = decode(line)
      if (Result.isFailure(event)) continue
      Fuzz.checkWords(format(event.success))
      const json = safeJson(event.success)
      if (json.includes("\n") || /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(json)) throw new Error(`raw: ${json}`)
    }
  }
  return Result.void
}

export const target = Fuzz.make({
  name: "tail",
  about: "the events from the socket of a worker, as tail shows them",
  rounds: 2000,
  make: (random, size) => ({
    bytes: random.pick([
      () => Buffer.concat([Hostile.mutate(random, lineOf({})), lineOf({})]),
      () => Hostile.bytesOf(`${Hostile.jsonObject(random, size, fields)}\n`),
      () => lineOf({ queue: Hostile.text(random, size), reason: Hostile.text(random, size) }),
      () => Hostile.bytes(random, size)
    ])(),
    size: random.pick([1, 7, 65_536])
  }),
  feed: ({ bytes, size }) => follow(bytes, size),
  grow: [
    ...["\n", "{}\n"].map((run) => (size: number) => ({ bytes: Hostile.bytesOf(Hostile.fill(run, size)), size: 1 })),
    // lines, and no more of them than fit
    ...Hostile.runs.map((run) => {
      const line = lineOf({ reason: Hostile.fill(run, 900) })
      return (size: number) => ({
        bytes: Buffer.concat(Array.from({ length: size / 1024 }, () => line)),
        size: 65_536
      })
    })
  ]
})
