import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { type Command, line, Slab } from "../../../src/brokers/beanstalk/command.ts"
import { Parser, type Reply } from "../../../src/brokers/beanstalk/reply.ts"
import { decodeJobStats, parseDictionary, parseList } from "../../../src/brokers/beanstalk/stats.ts"
import { cpuMillis } from "../../support/cpu.ts"

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1")

const encode = (...commands: ReadonlyArray<Command>): string => {
  const slab = new Slab()
  for (const command of commands) slab.append(command)
  return Buffer.from(slab.take()).toString("latin1")
}

const parse = (chunks: ReadonlyArray<Uint8Array>) => {
  const parser = new Parser()
  const replies: Array<Reply> = []
  let violation: string | undefined
  for (const chunk of chunks) violation = parser.feed(chunk, replies)?.detail
  return { replies, violation, parser }
}

/** A reply in a form that can be compared. */
const plain = (reply: Reply) => "body" in reply ? { ...reply, body: Buffer.from(reply.body).toString("latin1") } : reply

const id = "18446744073709551615"
const longest = "x".repeat(200)

const golden: ReadonlyArray<readonly [Command, string]> = [
  [{ _tag: "Put", priority: 0, delay: 1, ttr: 2, body: latin1("a\r\n\0\xff") }, "put 0 1 2 5\r\na\r\n\0\xff\r\n"],
  [{ _tag: "Put", priority: 4294967295, delay: 0, ttr: 60, body: latin1("") }, "put 4294967295 0 60 0\r\n\r\n"],
  [{ _tag: "Use", tube: longest }, `use ${longest}\r\n`],
  [{ _tag: "Reserve" }, "reserve\r\n"],
  [{ _tag: "ReserveWithTimeout", seconds: 0 }, "reserve-with-timeout 0\r\n"],
  [{ _tag: "ReserveJob", id }, `reserve-job ${id}\r\n`],
  [{ _tag: "Delete", id }, `delete ${id}\r\n`],
  [{ _tag: "Release", id, priority: 1, delay: 2 }, `release ${id} 1 2\r\n`],
  [{ _tag: "Bury", id, priority: 1 }, `bury ${id} 1\r\n`],
  [{ _tag: "Touch", id }, `touch ${id}\r\n`],
  [{ _tag: "Watch", tube: "a" }, "watch a\r\n"],
  [{ _tag: "Ignore", tube: "a" }, "ignore a\r\n"],
  [{ _tag: "Peek", id }, `peek ${id}\r\n`],
  [{ _tag: "PeekReady" }, "peek-ready\r\n"],
  [{ _tag: "PeekDelayed" }, "peek-delayed\r\n"],
  [{ _tag: "PeekBuried" }, "peek-buried\r\n"],
  [{ _tag: "Kick", bound: 10 }, "kick 10\r\n"],
  [{ _tag: "KickJob", id }, `kick-job ${id}\r\n`],
  [{ _tag: "Stats" }, "stats\r\n"],
  [{ _tag: "StatsJob", id }, `stats-job ${id}\r\n`],
  [{ _tag: "StatsTube", tube: "a" }, "stats-tube a\r\n"],
  [{ _tag: "ListTubes" }, "list-tubes\r\n"],
  [{ _tag: "ListTubeUsed" }, "list-tube-used\r\n"],
  [{ _tag: "ListTubesWatched" }, "list-tubes-watched\r\n"],
  [{ _tag: "PauseTube", tube: longest, seconds: 4294967295 }, `pause-tube ${longest} 4294967295\r\n`],
  [{ _tag: "Quit" }, "quit\r\n"]
]

describe("commands", () => {
  for (const [command, bytes] of golden) {
    it(`${command._tag}: ${JSON.stringify(bytes.slice(0, 30))}`, () => {
      assert.strictEqual(encode(command), bytes)
      assert.isAtMost(line(command).length, 222)
    })
  }

  it("share one slab, in order", () => {
    assert.strictEqual(encode(...golden.map(([command]) => command)), golden.map(([, bytes]) => bytes).join(""))
  })

  it("leave taken bytes unchanged", () => {
    const slab = new Slab()
    const taken: Array<Uint8Array> = []
    const expected: Array<string> = []
    for (let i = 0; i < 5000; i++) {
      const body = latin1(String(i).repeat(i % 40))
      slab.append({ _tag: "Put", priority: i, delay: 0, ttr: 1, body })
      expected.push(`put ${i} 0 1 ${body.length}\r\n${body.toString("latin1")}\r\n`)
      if (i % 7 === 0) taken.push(slab.take())
    }
    taken.push(slab.take())
    assert.strictEqual(slab.size, 0)
    assert.isTrue(Buffer.concat(taken).toString("latin1") === expected.join(""))
  })

  it("can have a body larger than the slab", () => {
    const body = Buffer.alloc(1_000_000, "y")
    const encoded = encode({ _tag: "Delete", id: "1" }, { _tag: "Put", priority: 0, delay: 0, ttr: 1, body })
    assert.isTrue(encoded === `delete 1\r\nput 0 0 1 1000000\r\n${body.toString()}\r\n`)
  })
})

const wire: ReadonlyArray<readonly [string, object]> = [
  [`INSERTED ${id}\r\n`, { _tag: "Inserted", id }],
  ["BURIED 10\r\n", { _tag: "Buried", id: "10" }],
  ["BURIED\r\n", { _tag: "Buried", id: undefined }],
  ["RESERVED 7 27\r\nx\r\nRESERVED 9 5\r\nDELETED\r\ny\r\n", {
    _tag: "Reserved",
    id: "7",
    body: "x\r\nRESERVED 9 5\r\nDELETED\r\ny"
  }],
  ["RESERVED 8 0\r\n\r\n", { _tag: "Reserved", id: "8", body: "" }],
  ["FOUND 9 2\r\n\r\n\r\n", { _tag: "Found", id: "9", body: "\r\n" }],
  ["OK 8\r\n---\na: b\r\n", { _tag: "Ok", body: "---\na: b" }],
  [`USING ${longest}\r\n`, { _tag: "Using", tube: longest }],
  ["WATCHING 3\r\n", { _tag: "Watching", count: 3 }],
  ["KICKED 12\r\n", { _tag: "Kicked", count: 12 }],
  ["KICKED\r\n", { _tag: "Kicked", count: undefined }],
  ["DELETED\r\n", { _tag: "Deleted" }],
  ["RELEASED\r\n", { _tag: "Released" }],
  ["TOUCHED\r\n", { _tag: "Touched" }],
  ["PAUSED\r\n", { _tag: "Paused" }],
  ["DEADLINE_SOON\r\n", { _tag: "DeadlineSoon" }],
  ["TIMED_OUT\r\n", { _tag: "TimedOut" }],
  ["NOT_FOUND\r\n", { _tag: "NotFound" }],
  ["NOT_IGNORED\r\n", { _tag: "NotIgnored" }],
  ["EXPECTED_CRLF\r\n", { _tag: "ExpectedCrlf" }],
  ["JOB_TOO_BIG\r\n", { _tag: "JobTooBig" }],
  ["DRAINING\r\n", { _tag: "Draining" }],
  ["OUT_OF_MEMORY\r\n", { _tag: "OutOfMemory" }],
  ["INTERNAL_ERROR\r\n", { _tag: "InternalError" }],
  ["BAD_FORMAT\r\n", { _tag: "BadFormat" }],
  ["UNKNOWN_COMMAND\r\n", { _tag: "UnknownCommand" }]
]

describe("replies", () => {
  const all = latin1(wire.map(([bytes]) => bytes).join(""))
  const expected = wire.map(([, reply]) => reply)

  it("are parsed from one chunk", () => {
    const { parser, replies, violation } = parse([all])
    assert.isUndefined(violation)
    assert.deepStrictEqual(replies.map(plain), expected)
    assert.isFalse(parser.isInside)
  })

  it("are parsed if cut at any byte", () => {
    for (let at = 0; at <= all.length; at++) {
      const { replies } = parse([all.subarray(0, at), all.subarray(at)])
      assert.deepStrictEqual(replies.map(plain), expected, `cut at ${at}`)
    }
  })

  it("are parsed from single bytes", () => {
    const { replies } = parse(Array.from(all, (_, i) => all.subarray(i, i + 1)))
    assert.deepStrictEqual(replies.map(plain), expected)
  })

  it.prop(
    "can have any body, in chunks of any size",
    [Schema.Array(Schema.Uint8Array), Schema.Array(Schema.Natural)],
    ([bodies, sizes]) => {
      const stream = Buffer.concat(
        bodies.flatMap((body, i) => [latin1(`RESERVED ${i} ${body.length}\r\n`), body, latin1("\r\n")])
      )
      const chunks: Array<Uint8Array> = []
      for (let at = 0, i = 0; at < stream.length; i++) {
        const size = 1 + (sizes.length === 0 ? 0 : sizes[i % sizes.length]! % 50)
        chunks.push(stream.subarray(at, at + size))
        at += size
      }
      const { replies, violation } = parse(chunks)
      assert.isUndefined(violation)
      assert.deepStrictEqual(
        replies.map((reply) => Array.from((reply as { body: Uint8Array }).body)),
        bodies.map((body) => Array.from(body))
      )
    }
  )

  const malformed = [
    "RESERVED 1 zz\r\n",
    "RESERVED 1 -1\r\n",
    "RESERVED 1\r\n",
    "RESERVED 1 1073741825\r\n",
    "RESERVED  1\r\n",
    "RESERVED 123456789012345678901 1\r\n",
    "INSERTED\r\n",
    "INSERTED \r\n",
    "INSERTED x\r\n",
    "INSERTED 1 \r\n",
    "OK\r\n",
    "OK 1e3\r\n",
    "USING \r\n",
    "WATCHING\r\n",
    "KICKED x\r\n",
    "FOO\r\n",
    "deleted\r\n",
    "DELETED\n",
    "\r\n",
    "RESERVED 1 1\r\nab\r\n",
    "RESERVED 1 1\r\na\n\r"
  ]
  for (const bytes of malformed) {
    it(`end at ${JSON.stringify(bytes)}, for good`, () => {
      for (const chunks of [[bytes], Array.from(bytes)]) {
        const parser = new Parser()
        const replies: Array<Reply> = []
        for (const chunk of chunks) parser.feed(latin1(chunk), replies)
        assert.deepStrictEqual(replies, [])
        assert.isDefined(parser.feed(latin1("DELETED\r\n"), replies))
        assert.deepStrictEqual(replies, [])
      }
    })
  }

  it("end at a line without an end, with little memory", () => {
    const { replies, violation } = parse([Buffer.alloc(2_000_000, "A")])
    assert.include(violation!, "no end")
    assert.deepStrictEqual(replies, [])
    const parser = new Parser()
    let fed = 0
    while (parser.feed(latin1("A".repeat(100)), replies) === undefined) fed += 100
    assert.isAtMost(fed, 1100)
  })

  for (
    const [bytes, says] of [
      ["HTTP/1.1 400 Bad Request\r\n", "HTTP"],
      ["SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"],
      ["220 mail.example.org ESMTP\r\n", "mail"],
      ["\x15\x03\x01\0\x02\x02\n\r\n", "TLS"],
      ["-ERR unknown command\r\n", "Redis"]
    ] as const
  ) {
    it(`name another server: ${says}`, () => assert.include(parse([latin1(bytes)]).violation!, says))
  }

  it.each([1, 2, 65_535, 65_536, 65_537, 200_000])("keep a body in parts unchanged, %d bytes at a time", (step) => {
    const body = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251))
    const bytes = Buffer.concat([latin1(`RESERVED 1 ${body.length}\r\n`), body, latin1("\r\nFOUND 2 3\r\nabc\r\n")])
    const parts = Array.from(
      { length: Math.ceil(bytes.length / step) },
      (_, i) => bytes.subarray(i * step, (i + 1) * step)
    )
    const { replies } = parse(parts)
    assert.deepStrictEqual(replies.map((reply) => reply._tag), ["Reserved", "Found"])
    const [first, second] = replies as unknown as ReadonlyArray<{ readonly body: Uint8Array }>
    assert.isTrue(body.equals(first!.body))
    assert.strictEqual(Buffer.from(second!.body).toString(), "abc")
  })

  it("take linear time", () => {
    const time = (size: number) => {
      const body = Buffer.alloc(size)
      const parser = new Parser()
      const replies: Array<Reply> = []
      const millis = cpuMillis(() => {
        parser.feed(latin1(`RESERVED 1 ${size}\r\n`), replies)
        for (let at = 0; at < size; at += 1000) parser.feed(body.subarray(at, at + 1000), replies)
        parser.feed(latin1("\r\n"), replies)
      })
      assert.strictEqual(replies.length, 1)
      return millis / size
    }
    time(4_000_000)
    const small = Math.min(time(4_000_000), time(4_000_000), time(4_000_000))
    const large = Math.min(time(40_000_000), time(40_000_000))
    assert.isBelow(large / small, 4)
  })

  it("take little more memory than their bytes, cut at any place", () => {
    const size = 300_000
    const parser = new Parser()
    const replies: Array<Reply> = []
    const before = process.memoryUsage().rss
    parser.feed(latin1(`RESERVED 1 ${size}\r\n`), replies)
    // as a socket hands them over: each with storage of its own
    for (let at = 0; at < size; at++) parser.feed(Buffer.from(new ArrayBuffer(1)), replies)
    assert.isBelow((process.memoryUsage().rss - before) / size, 300)
    parser.feed(latin1("\r\n"), replies)
    assert.lengthOf(replies, 1)
    // and not for announced bytes that never arrive
    const others = Array.from({ length: 1000 }, () => new Parser())
    const { external } = process.memoryUsage()
    for (const other of others) {
      other.feed(latin1("RESERVED 1 1000000000\r\n"), replies)
      other.feed(latin1("abc"), replies)
    }
    assert.isBelow((process.memoryUsage().external - external) / others.length, 200_000)
  })
})

describe("statistics", () => {
  it("keep text that looks like another type, and strip one pair of quotes", () => {
    const body = latin1(
      "---\ntube: 1e5\nname: \"null\"\nos: #1 SMP Debian\nid: 4217e39018012345\nversion: \"1.12\"\nx: \"\"a\"\"\ny: a: b\nz: \n"
    )
    assert.deepStrictEqual(parseDictionary(body), {
      tube: "1e5",
      name: "null",
      os: "#1 SMP Debian",
      id: "4217e39018012345",
      version: "1.12",
      x: "\"a\"",
      y: "a: b",
      z: ""
    })
  })

  it("are refused in any other form", () => {
    for (const text of ["", "---", "a: b\n", "---\nno colon\n", "---\n: b\n"]) {
      assert.isUndefined(parseDictionary(latin1(text)), JSON.stringify(text))
    }
    assert.isUndefined(parseList(latin1("---\na: b\n")))
    assert.strictEqual(decodeJobStats(latin1("---\nid: 1\n"))._tag, "Failure")
    assert.strictEqual(decodeJobStats(latin1("---\n__proto__: 1\n"))._tag, "Failure")
  })

  it("lists have names of any form", () => {
    assert.deepStrictEqual(parseList(latin1("---\n- 123\n- 1e5\n- true\n- .5\n- \"q\"\n")), [
      "123",
      "1e5",
      "true",
      ".5",
      "q"
    ])
    assert.deepStrictEqual(parseList(latin1("---\n")), [])
  })
})
