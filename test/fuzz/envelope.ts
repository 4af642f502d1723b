import * as Result from "effect/Result"
import * as Envelope from "../../src/Envelope.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"

export const fields = {
  backq: 1,
  id: "0193b4a0-0000-7000-8000-000000000000",
  job: "send-welcome",
  version: 1,
  payload: { userId: "42" },
  publishedAt: 1764000000000,
  expiresAt: 32503680000000,
  traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
}

const valid = Hostile.bytesOf(JSON.stringify(fields))

const withText = (text: string) => (key: string): Uint8Array =>
  Hostile.bytesOf(JSON.stringify({ ...fields, [key]: text }))

export const target = Fuzz.make({
  name: "envelope",
  about: "the bodies of jobs, decoded as envelopes",
  rounds: 2000,
  make: (random, size) =>
    random.pick([
      () => Hostile.mutate(random, valid),
      () => Hostile.bytesOf(Hostile.jsonObject(random, size, fields)),
      () => Hostile.bytes(random, size)
    ])(),
  feed: (body) => {
    const decoded = Envelope.decode(body)
    if (Result.isSuccess(decoded) && decoded.success.traceparent !== undefined) {
      Envelope.span(decoded.success.traceparent)
    }
    return decoded
  },
  grow: [
    ...Hostile.runs.flatMap((run) => [
      (size: number) => Hostile.bytesOf(Hostile.fill(run, size)),
      (size: number) => withText(Hostile.fill(run, size))("traceparent")
    ]),
    (size) => Hostile.bytesOf(JSON.stringify(Object.fromEntries(Array.from({ length: size / 8 }, (_, i) => [i, i])))),
    (size) => Hostile.bytesOf(`{"backq":1,"id":"1","job":"a","payload":[${Hostile.fill("0,", size)}0]}`),
    (size) => Hostile.bytesOf(`{"backq":${"9".repeat(size)}}`),
    (size) => new Uint8Array(size).fill(0xff)
  ]
})
