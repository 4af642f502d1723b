/** HPACK: the examples of RFC 7541, round trips, and blocks that are none. */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import type { Header } from "../../src/http2/Connection.ts"
import { HpackDecoder } from "../../src/http2/hpack/decoder.ts"
import { HpackEncoder } from "../../src/http2/hpack/encoder.ts"
import * as Huffman from "../../src/http2/hpack/huffman.ts"
import type { Field } from "../../src/http2/hpack/staticTable.ts"
import { Output } from "../../src/http2/session/output.ts"

const bytesOf = (hex: string): Buffer => Buffer.from(hex.replace(/\s/g, ""), "hex")

const decode = (decoder: HpackDecoder, block: Uint8Array): string | Array<Field> => {
  const fields: Array<Field> = []
  return decoder.decode(Buffer.from(block), 0, block.length, fields) ?? fields
}

const encode = (encoder: HpackEncoder, headers: ReadonlyArray<Header>): Buffer => {
  const out = new Output()
  encoder.begin(out, 0)
  assert.isUndefined(encoder.headers(out, headers, true))
  return Buffer.from(out.view())
}

const indexed = (fields: ReadonlyArray<Field>): ReadonlyArray<Header> =>
  fields.map(([name, value]) => ({ name, value, index: true }))

// -- RFC 7541, appendix C

const requests: ReadonlyArray<ReadonlyArray<Field>> = [
  [[":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "www.example.com"]],
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
    ["cache-control", "no-cache"]
  ],
  [
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/index.html"],
    [":authority", "www.example.com"],
    ["custom-key", "custom-value"]
  ]
]

const cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"

const responses: ReadonlyArray<ReadonlyArray<Field>> = [
  [
    [":status", "302"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["location", "https://www.example.com"]
  ],
  [
    [":status", "307"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["location", "https://www.example.com"]
  ],
  [
    [":status", "200"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:22 GMT"],
    ["location", "https://www.example.com"],
    ["content-encoding", "gzip"],
    ["set-cookie", cookie]
  ]
]

const plainRequests = [
  "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
  "8286 84be 5808 6e6f 2d63 6163 6865",
  "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65"
]

const huffmanRequests = [
  "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
  "8286 84be 5886 a8eb 1064 9cbf",
  "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"
]

const plainResponses = [
  `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
   2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
   6c65 2e63 6f6d`,
  "4803 3330 37c1 c0bf",
  `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
   54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
   5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
   3d31`
]

const huffmanResponses = [
  `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
   2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
  "4883 640e ffc1 c0bf",
  `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
   77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
   9587 3160 65c0 03ed 4ee5 b106 3d50 07`
]

describe("the examples of RFC 7541", () => {
  const decodesAll = (blocks: ReadonlyArray<string>, lists: ReadonlyArray<ReadonlyArray<Field>>, prefix = "") => {
    const decoder = new HpackDecoder(65536)
    blocks.forEach((block, i) => {
      assert.deepStrictEqual(decode(decoder, bytesOf(i === 0 ? prefix + block : block)), [...lists[i]!])
    })
  }

  it("C.1: integers are decoded", () => {
    // As sizes of a table, with a prefix of five bits.
    const decoder = (allowed: number) => {
      const decoder = new HpackDecoder(65536)
      decoder.allow(allowed)
      return decoder
    }
    for (const [hex, size] of [["2a", 10], ["3f00", 31], ["3f9a0a", 1337]] as const) {
      assert.deepStrictEqual(decode(decoder(size), bytesOf(hex)), [])
      assert.isString(decode(decoder(size - 1), bytesOf(hex)))
      const encoder = new HpackEncoder()
      encoder.setTableSize(size)
      assert.strictEqual(encode(encoder, []).toString("hex"), hex)
    }
  })

  it("C.2: each form of a field is decoded", () => {
    const forms: ReadonlyArray<readonly [string, Field]> = [
      ["400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", ["custom-key", "custom-header"]],
      ["040c 2f73 616d 706c 652f 7061 7468", [":path", "/sample/path"]],
      ["1008 7061 7373 776f 7264 0673 6563 7265 74", ["password", "secret"]],
      ["82", [":method", "GET"]]
    ]
    for (const [hex, field] of forms) {
      assert.deepStrictEqual(decode(new HpackDecoder(65536), bytesOf(hex)), [field])
    }
  })

  it("C.2: fields that enter no table are decoded", () => {
    const encoder = new HpackEncoder()
    assert.strictEqual(
      encode(encoder, [{ name: ":path", value: "/sample/path" }]).toString("hex"),
      bytesOf("040c 2f73 616d 706c 652f 7061 7468").toString("hex")
    )
    const secret = encode(encoder, [{ name: "authorization", value: "secret", index: "never" }])
    assert.strictEqual(secret.toString("hex"), bytesOf("1f08 0673 6563 7265 74").toString("hex"))
    assert.deepStrictEqual(decode(new HpackDecoder(65536), secret), [["authorization", "secret"]])
  })

  it("C.3: requests without Huffman code are decoded", () => decodesAll(plainRequests, requests))
  it("C.4: requests with Huffman code are decoded", () => decodesAll(huffmanRequests, requests))
  // A table of 256 bytes, as these examples have it: 3fe1 01 says so.
  it("C.5: responses without Huffman code are decoded", () => decodesAll(plainResponses, responses, "3fe1 01"))
  it("C.6: responses with Huffman code are decoded", () => decodesAll(huffmanResponses, responses, "3fe1 01"))

  it("C.4: requests are encoded to the same bytes", () => {
    const encoder = new HpackEncoder()
    const blocks = requests.map((fields) => encode(encoder, indexed(fields)).toString("hex"))
    assert.deepStrictEqual(blocks, huffmanRequests.map((hex) => bytesOf(hex).toString("hex")))
  })

  it("C.6: responses are encoded to the same bytes, with a table of 256 bytes", () => {
    const encoder = new HpackEncoder()
    encoder.setTableSize(256)
    const blocks = responses.map((fields) => encode(encoder, indexed(fields)).toString("hex"))
    // Where the code is not shorter than the text, the text is sent: "307" in the second block.
    const [first, , third] = huffmanResponses.map((hex) => bytesOf(hex).toString("hex"))
    assert.deepStrictEqual(blocks, [`3fe101${first}`, bytesOf("4803 3330 37c1 c0bf").toString("hex"), third])
  })
})

describe("encoding and decoding", () => {
  const Name = Schema.String.check(Schema.isPattern(/^[a-z0-9-]{1,12}$/))
  const Value = Schema.String.check(Schema.isMaxLength(40))
  const Index = Schema.Union([Schema.Boolean, Schema.Literal("never")])
  const Lists = Schema.Array(Schema.Array(Schema.Struct({ name: Name, value: Value, index: Index })))
  const Sizes = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5000 })))

  // Control characters are refused, and a lone surrogate is no text.
  const isText = (value: string) =>
    value.isWellFormed() && !/^[ \t]|[ \t]$/.test(value) && !/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value)

  it.prop("are the reverse of each other at every table size", { lists: Lists, sizes: Sizes }, ({ lists, sizes }) => {
    const encoder = new HpackEncoder()
    const decoder = new HpackDecoder(1_000_000)
    lists.forEach((list, i) => {
      const size = sizes[i]
      if (size !== undefined) encoder.setTableSize(size)
      const out = new Output()
      const sent = list.filter(({ value }) => isText(value))
      encoder.begin(out, 0)
      const wrong = encoder.headers(out, sent)
      if (wrong !== undefined) return encoder.reset()
      assert.deepStrictEqual(decode(decoder, out.view()), sent.map(({ name, value }) => [name, value] as const))
    })
  })

  it("evict the same fields, counted in bytes, when the table is full or changes its size", () => {
    const encoder = new HpackEncoder()
    const decoder = new HpackDecoder(1_000_000)
    for (let i = 0; i < 1000; i++) {
      // Now and then the size changes, and now and then twice: the smallest counts too.
      if (i % 70 === 0) encoder.setTableSize(i % 140 === 0 ? 300 : 700)
      if (i % 90 === 0) [0, 500].forEach((size) => encoder.setTableSize(size))
      const fields: ReadonlyArray<Field> = [
        [`x-${i % 5}`, "ü€".repeat(i % 17)],
        ["x-long", "plain".repeat(i % 23)],
        ["x-same", "always"]
      ]
      assert.deepStrictEqual(decode(decoder, encode(encoder, indexed(fields))), [...fields])
    }
  })

  it("announce the smallest table size since the last block and the last one", () => {
    const encoder = new HpackEncoder()
    for (const size of [300, 100, 200]) encoder.setTableSize(size)
    assert.strictEqual(
      encode(encoder, [{ name: ":method", value: "GET", index: true }]).toString("hex"),
      "3f453fa90182"
    )
    assert.strictEqual(encode(encoder, [{ name: ":method", value: "GET", index: true }]).toString("hex"), "82")
  })

  it("cost a byte per header of a shared list from the second time on", () => {
    const encoder = new HpackEncoder()
    const decoder = new HpackDecoder(65536)
    const shared = indexed([["apns-topic", "org.example"], ["apns-push-type", "alert"], ["apns-priority", "10"]])
    const sizes = [1, 2, 3].map((round) => {
      const out = new Output()
      assert.isUndefined(encoder.sharedHeaders(out, shared))
      assert.deepStrictEqual(decode(decoder, out.view()), shared.map(({ name, value }) => [name, value] as const))
      if (round === 2) {
        // A newer field moves the others on.
        const between = encode(encoder, indexed([["apns-topic", "org.example.other"]]))
        assert.deepStrictEqual(decode(decoder, between), [["apns-topic", "org.example.other"]])
      }
      return out.size
    })
    assert.deepStrictEqual(sizes.slice(1), [3, 3])
    assert.isAbove(sizes[0]!, 30)
  })

  it("leave no trace in the table of a block that is not sent", () => {
    const encoder = new HpackEncoder()
    const decoder = new HpackDecoder(65536)
    const spoilt = [{ name: "x-one", value: "1", index: true }, { name: "x-two", value: "line\nbreak" }]
    assert.include(encoder.headers(new Output(), spoilt), "control character")
    encoder.reset()
    for (let i = 0; i < 3; i++) {
      const block = encode(encoder, indexed([["x-one", "1"], ["x-three", "3"]]))
      assert.deepStrictEqual(decode(decoder, block), [["x-one", "1"], ["x-three", "3"]])
    }
  })

  it.each(["Upper", "", "with space", "ümlaut", ":path", "connection", "transfer-encoding", "te"])(
    "refuses the name %j",
    (name) => assert.isDefined(new HpackEncoder().headers(new Output(), [{ name, value: "x" }]))
  )

  it.prop("Huffman-encode every string so that it decodes to itself", { bytes: Schema.Uint8Array }, ({ bytes }) => {
    const target = Buffer.alloc(bytes.length * 4 + 1)
    const end = Huffman.encode(bytes, target, 0)
    assert.strictEqual(end, Huffman.encodedSize(bytes))
    const decoded = Buffer.alloc(end * 2)
    const size = Huffman.decode(target, 0, end, decoded)
    assert.deepStrictEqual([...decoded.subarray(0, size)], [...bytes])
  })
})

describe("invalid blocks", () => {
  const bad: ReadonlyArray<readonly [string, string]> = [
    ["index 0", "80"],
    ["an index above both tables", "be"],
    ["an index far above", "ffff ff7f"],
    ["a number without an end", "ffff"],
    ["a number above all bounds", "ffff ffff ffff 7f"],
    ["a string that is cut", "0005 6162"],
    ["no string", "00"],
    ["a value that is missing", "0001 61"],
    ["a size update above the limit", "3fe2 1f"],
    ["a size update amid the fields", "8220"],
    ["Huffman code of EOS", "0001 6184 ffff ffff"],
    ["Huffman padding of eight bits", "0001 6182 1fff"],
    ["Huffman padding that is not ones", "0001 6181 18"]
  ]

  it.each(bad)("%s", (_, hex) => assert.isString(decode(new HpackDecoder(65536), bytesOf(hex))))

  it("after the limit of 0 bytes applies, a peer must announce it before it uses the table, and may not announce more", () => {
    const outdated = () => {
      const decoder = new HpackDecoder(65536)
      assert.deepStrictEqual(decode(decoder, bytesOf(plainRequests[0]!)), [...requests[0]!])
      decoder.allow(0)
      return decoder
    }
    // A server without a table may have nothing to say.
    assert.deepStrictEqual(decode(outdated(), bytesOf("82 0001 7801 31")), [[":method", "GET"], ["x", "1"]])
    assert.include(decode(outdated(), bytesOf("be")), "without the size update")
    assert.include(decode(outdated(), bytesOf("7e01 31")), "without the size update")
    assert.include(decode(outdated(), bytesOf("4001 7801 31")), "without the size update")
    assert.isString(decode(outdated(), bytesOf("2182")))
    const decoder = outdated()
    assert.deepStrictEqual(decode(decoder, bytesOf("2082")), [[":method", "GET"]])
    assert.isString(decode(decoder, bytesOf("be")))
    // An entry larger than the table empties it: RFC 7541, section 4.4.
    assert.deepStrictEqual(decode(decoder, bytesOf("4001 7801 31")), [["x", "1"]])
    assert.isString(decode(decoder, bytesOf("be")))
  })

  it("a field with the name of another counts the bytes of that name, even if they are not UTF-8", () => {
    const decoder = new HpackDecoder(65536)
    const name = Buffer.alloc(10, 0xff).toString("hex")
    // In a table of 60 bytes: 10 + 1 + 32 for the first, and for the second, which takes its place.
    assert.isArray(decode(decoder, bytesOf(`3f1d 400a ${name} 0131 7e01 32`)))
    assert.strictEqual((decode(decoder, bytesOf("be")) as Array<Field>)[0]![1], "2")
  })

  it("an evicted field is unknown, and a Huffman-coded field counts its decoded size", () => {
    const encoder = new HpackEncoder()
    encoder.setTableSize(200)
    const decoder = new HpackDecoder(65536)
    const large = (value: string): Field => ["x-large", value.repeat(70)]
    // Each counts 109 bytes, so that one fits; coded, two would.
    for (const field of [large("a"), large("e")]) {
      assert.deepStrictEqual(decode(decoder, encode(encoder, indexed([field]))), [field])
    }
    assert.deepStrictEqual(decode(decoder, bytesOf("be")), [large("e")])
    assert.isString(decode(decoder, bytesOf("bf")))
  })

  it("a field larger than the table empties it", () => {
    const decoder = new HpackDecoder(65536)
    // A table of 40 bytes: "x: 1" counts 34, and "x: 123456789" counts 42.
    assert.deepStrictEqual(decode(decoder, bytesOf("3f09 4001 7801 31 be")), [["x", "1"], ["x", "1"]])
    assert.deepStrictEqual(decode(decoder, bytesOf("4001 7809 3132 3334 3536 3738 39")), [["x", "123456789"]])
    assert.isString(decode(decoder, bytesOf("be")))
  })

  it("a list over the limit is decoded to its end, so that the table stays in step", () => {
    const decoder = new HpackDecoder(100)
    const block = bytesOf(plainRequests[0]!)
    const fields: Array<Field> = []
    assert.isUndefined(decoder.decode(block, 0, block.length, fields))
    assert.isTrue(decoder.isOverLimit)
    assert.deepStrictEqual(decode(decoder, bytesOf("be")), [[":authority", "www.example.com"]])
    assert.isFalse(decoder.isOverLimit)
  })

  it.prop(
    "any bytes decode to fields or an error, never to an exception",
    { bytes: Schema.Uint8Array },
    ({ bytes }) => {
      const result = decode(new HpackDecoder(65536), bytes)
      return typeof result === "string" || Array.isArray(result)
    }
  )
})
