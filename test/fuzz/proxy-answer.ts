import * as Result from "effect/Result"
import { ProxyAnswerReader, statusDetail } from "../../src/http2/dial/tunnel.ts"
import * as Http2Error from "../../src/http2/Http2Error.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"

const valid = [
  "HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n",
  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 503 Busy\r\nRetry-After: 5\r\n\r\n",
  "HTTP/1.0 407 Proxy Authentication Required\nProxy-Authenticate: Basic\n\n"
]

interface Answer {
  readonly bytes: Uint8Array
  /** The size of the pieces in which it comes. */
  readonly piece: number
}

const read = ({ bytes, piece }: Answer): Result.Result<void, Http2Error.Http2Error> => {
  const reader = new ProxyAnswerReader()
  for (let at = 0; at < bytes.length; at += piece) {
    const answer = reader.feed(Buffer.from(bytes.subarray(at, at + piece)))
    if (answer === undefined) continue
    const [status, detail] = answer._tag === "Answered"
      ? [answer.status, statusDetail(answer.status, answer.phrase)]
      : [0, answer.detail]
    return Result.fail(Http2Error.make(new Http2Error.ProxyRefused({ proxy: "p:1", server: "s", status, detail })))
  }
  return Result.void
}

const shapes: ReadonlyArray<(size: number) => string> = [
  ...Hostile.runs.flatMap((run) => [
    (size: number) => Hostile.fill(run, size),
    (size: number) => `HTTP/1.1 403 ${Hostile.fill(run, size)}\r\n\r\n`
  ]),
  (size) => Hostile.fill("HTTP/1.1 100 Continue\r\n\r\n", size),
  (size) => `HTTP/1.1 200 OK\r\n${Hostile.fill("A: b\r\n", size)}`
]

export const target = Fuzz.make<Answer>({
  name: "proxy answer",
  about: "the answers of a proxy to CONNECT",
  rounds: 2000,
  make: (random, size) => ({
    bytes: random.chance(0.7)
      ? Hostile.mutate(random, Hostile.bytesOf(random.pick(valid)))
      : Hostile.bytes(random, size),
    piece: random.pick([1, 2, 10, 1000, 100_000])
  }),
  feed: read,
  grow: shapes.flatMap((shape) =>
    [1, 16_384].map((piece) => (size: number) => ({
      bytes: Hostile.bytesOf(shape(size)),
      piece
    }))
  )
})
