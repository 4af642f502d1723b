/** What a proxy answers to CONNECT, byte by byte. */
import { assert, describe, it } from "@effect/vitest"
import { type ProxyAnswer, ProxyAnswerReader } from "../../src/http2/dial/tunnel.ts"
import { isTransient, ProxyRefused } from "../../src/http2/Http2Error.ts"

/** The answer to bytes in pieces, and how many pieces were read. */
const feed = (bytes: Buffer, size: number): readonly [ProxyAnswer | undefined, number] => {
  const reader = new ProxyAnswerReader()
  for (let at = 0, pieces = 1; at < bytes.length; at += size, pieces++) {
    const answer = reader.feed(bytes.subarray(at, at + size))
    if (answer !== undefined) return [answer, pieces]
  }
  return [undefined, Math.ceil(bytes.length / size)]
}

const word = (answer: ProxyAnswer | undefined): string =>
  answer === undefined ? "open" : answer._tag === "Answered" ? `${answer.status} ${answer.phrase}` : answer.detail

describe("ProxyAnswerReader", () => {
  const notProxy = "its answer is not HTTP; check that an HTTP proxy runs at this host and port"

  it.each([
    ["HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n", "200 Connection established"],
    ["HTTP/1.0 200\r\n\r\n", "200 "],
    ["HTTP/1.1 200 OK\nVia: test\n\n", "200 OK"],
    ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 503 Busy\r\n\r\n", "503 Busy"],
    ["HTTP/1.1 200 OK\r\n", "open"],
    ["", "open"],
    ["220 smtp.example.org ESMTP\r\n", notProxy],
    ["\r\nHTTP/1.1 200 OK\r\n\r\n", notProxy],
    ["HTTP/2 200 OK\r\n\r\n", notProxy],
    ["HTTP/1.1 099 What\r\n\r\n", notProxy],
    ["HTTP/1.1 -20\r\n\r\n", notProxy],
    ["HTTP/1.1 2000 OK\r\n\r\n", notProxy],
    ["HTTP/1.1 200abc\r\n\r\n", notProxy],
    ["SSH-2.0-OpenSSH_9.2\r\n", notProxy],
    ["x".repeat(20_000), "its answer has more than 16384 bytes"],
    [`HTTP/1.1 200 OK\r\nX: ${"y".repeat(20_000)}\r\n\r\n`, "its answer has more than 16384 bytes"],
    ["HTTP/1.1 100 Continue\r\n\r\n".repeat(17), "it sent more than 16 informational responses and no final one"],
    [`HTTP/1.1 103 Early\r\nX: ${"y".repeat(2000)}\r\n\r\n`.repeat(16), "its answer has more than 16384 bytes"]
  ])("reads %j the same, however it is cut", (text, expected) => {
    for (const size of [1, 2, 3, 7, 1000, 100_000]) assert.strictEqual(word(feed(Buffer.from(text), size)[0]), expected)
  })

  it("returns the bytes after the answer", () => {
    const text = "HTTP/1.1 200 OK\r\n\r\n"
    const rest = Buffer.alloc(40_000, "TLS")
    const [answer] = feed(Buffer.concat([Buffer.from(text), rest]), 100_000)
    assert.isTrue(answer?._tag === "Answered" && answer.rest.equals(rest))
  })

  it("refuses an endless answer at its limit", () => {
    const endless = Buffer.from("HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000))
    const [, pieces] = feed(endless, 25)
    assert.strictEqual(pieces, 17)
  })

  it("accepts an answer of exactly its limit", () => {
    const head = "HTTP/1.1 200 OK\r\nX: "
    const whole = (size: number) => `${head.padEnd(size - 4, "y")}\r\n\r\n`
    assert.strictEqual(word(feed(Buffer.from(whole(16_383)), 5000)[0]), "200 OK")
    assert.strictEqual(word(feed(Buffer.from(whole(16_384)), 5000)[0]), "200 OK")
    assert.include(word(feed(Buffer.from(whole(16_385)), 5000)[0]), "more than 16384 bytes")
  })
})

describe("a status of a proxy", () => {
  it.each([408, 421, 425, 429, 500, 502, 503, 504, 507, 520, 522, 599])("%d is transient", (status) => {
    assert.isTrue(isTransient(status))
  })

  it.each([300, 302, 400, 401, 403, 404, 405, 407, 410, 418, 451, 501, 505, 511, 600, 999])(
    "%d is permanent",
    (status) => assert.isFalse(isTransient(status))
  )

  it("a missing status is transient", () => {
    assert.isTrue(new ProxyRefused({ proxy: "p", server: "s", status: 0, detail: "it closed" }).isTransient)
  })
})
