import { Parser, type Reply } from "../../src/brokers/beanstalk/reply.ts"
import * as Stats from "../../src/brokers/beanstalk/stats.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"
import type { Random } from "../support/Random.ts"

const words: ReadonlyArray<string> = [
  ["DELETED", "RELEASED", "BURIED", "BURIED 7", "TOUCHED", "KICKED", "KICKED 3", "PAUSED", "DEADLINE_SOON"],
  ["TIMED_OUT", "NOT_FOUND", "NOT_IGNORED", "EXPECTED_CRLF", "JOB_TOO_BIG", "DRAINING", "OUT_OF_MEMORY"],
  ["INTERNAL_ERROR", "BAD_FORMAT", "UNKNOWN_COMMAND", "INSERTED 42", "USING default", "WATCHING 2"]
].flat()

const body = (random: Random, size: number): Uint8Array =>
  random.chance(0.5)
    ? Hostile.bytes(random, size)
    : Hostile.bytesOf(
      `---\n${
        Array.from({ length: random.below(10) }, () => `${random.pick(["- ", "key: ", ""])}${Hostile.text(random, 10)}`)
          .join("\n")
      }\n`
    )

/** One reply, valid or nearly. */
export const reply = (random: Random, size: number): Uint8Array => {
  if (random.chance(0.5)) return Hostile.bytesOf(`${random.pick(words)}\r\n`)
  const bytes = body(random, size)
  const length = random.chance(0.95) ? bytes.length : random.pick([-1, 0, bytes.length + 1, 2 ** 30, 2 ** 31, 1e21])
  const head = random.pick([`OK ${length}`, `RESERVED 42 ${length}`, `FOUND 42 ${length}`])
  return Buffer.concat([Buffer.from(`${head}\r\n`), bytes, Buffer.from("\r\n")])
}

/** Several, perhaps with accidents. */
export const replies = (random: Random, size: number): Uint8Array => {
  const all = Buffer.concat(Array.from({ length: random.between(1, 8) }, () => reply(random, size)))
  return random.chance(0.5) ? Hostile.mutate(random, all) : all
}

/** The result of parsing bytes that come in pieces: the end, and the replies before it. */
const parse = (bytes: Uint8Array, cuts: ReadonlyArray<number>): string => {
  const parser = new Parser()
  const out: Array<Reply> = []
  let at = 0
  let violation
  for (const cut of [...cuts, bytes.length]) {
    violation = parser.feed(bytes.subarray(at, cut), out)
    at = cut
  }
  if (violation !== undefined) Fuzz.checkWords(violation.detail)
  for (const one of out) {
    if (one._tag !== "Ok") continue
    for (const read of [Stats.decodeJobStats, Stats.decodeTubeStats, Stats.decodeServerStats]) read(one.body)
    Stats.parseList(one.body)
  }
  const told = out.map((one) => "body" in one ? { ...one, body: Buffer.from(one.body).toString("hex") } : one)
  return JSON.stringify([told, violation === undefined ? parser.isInside : "a violation"])
}

interface Input {
  readonly bytes: Uint8Array
  readonly cuts: ReadonlyArray<number>
}

const inPieces = (bytes: Uint8Array, piece: number): Input => ({
  bytes,
  cuts: Array.from({ length: Math.floor(bytes.length / piece) }, (_, i) => (i + 1) * piece)
})

const framed = (text: string): Uint8Array => Hostile.bytesOf(`OK ${Buffer.byteLength(text)}\r\n${text}\r\n`)

export const target = Fuzz.make<Input>({
  name: "beanstalk replies",
  about: "the replies of beanstalkd, cut anywhere",
  rounds: 2000,
  make: (random, size) => {
    const bytes = random.chance(0.9) ? replies(random, size) : Hostile.bytes(random, size)
    const cuts = Array.from({ length: random.below(6) }, () => random.below(bytes.length + 1)).sort((a, b) => a - b)
    return { bytes, cuts }
  },
  feed: ({ bytes, cuts }) => {
    if (parse(bytes, cuts) !== parse(bytes, [])) throw new Error("other replies when it is cut otherwise")
  },
  grow: [
    ...Hostile.runs.flatMap((run) => [
      (size: number) => inPieces(Hostile.bytesOf(Hostile.fill(run, size)), size),
      (size: number) => inPieces(framed(`---\n${Hostile.fill(run, size)}`), size),
      (size: number) => inPieces(framed(`---\n${Hostile.fill(`key${run}: ${run}\n`, size)}`), size)
    ]),
    (size) => inPieces(framed("x".repeat(size)), 16),
    (size) => inPieces(Hostile.bytesOf(Hostile.fill("DELETED\r\n", size)), 7)
  ]
})
