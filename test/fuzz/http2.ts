import * as Result from "effect/Result"
import { Flag, Setting, Type } from "../../src/http2/frame/frame.ts"
import * as Peer from "../http2/peer.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"
import type { Random } from "../support/Random.ts"

/** The limit of bytes that a session may hold from its peer and for its peer. */
const maxHeldBytes = 8 * 1024 * 1024

const types = [...Object.values(Type), 0x42]
const flags = [0, 1, 4, 5, 8, 9, 0x20, 0x2d, 0xff]
const streams = [0, 1, 1, 3, 5, 7, 9, 13, 2, 99, 0x7fffffff]

/** Frames of an honest peer, and some unexpected ones. */
const frames = (random: Random, size: number): ReadonlyArray<Uint8Array> => {
  const kept: Array<Uint8Array> = []
  for (const frame of Peer.dialogue) {
    if (random.chance(0.1)) continue
    kept.push(random.chance(0.1) ? Hostile.mutate(random, frame) : frame)
    if (random.chance(0.1)) kept.push(frame)
    if (random.chance(0.2)) {
      const payload = Hostile.bytes(random, Math.min(size, 17_000))
      kept.push(Peer.frame(random.pick(types), random.pick(flags), random.pick(streams), payload))
    }
    if (random.chance(0.05)) kept.push(Peer.goaway(random.pick(streams), random.below(20), Hostile.text(random, size)))
  }
  return kept
}

interface Dialogue {
  readonly bytes: Uint8Array
  /** How the bytes are cut: the size of each next piece. */
  readonly cuts: ReadonlyArray<number>
}

const whole = (bytes: Uint8Array): Dialogue => ({ bytes, cuts: [16_384] })

/** A server's bytes for seven requests, in pieces; then it closes. */
const play = ({ bytes, cuts }: Dialogue): void => {
  const play = new Peer.Play({ requestTimeout: 1000, maxResponseSize: 10_000 })
  play.feed(Peer.settings([Setting.maxConcurrentStreams, 20]))
  play.submit(7, { body: Buffer.alloc(100) })
  play.sent()
  for (let at = 0, piece = 0; at < bytes.length; piece++) {
    const next = at + cuts[piece % cuts.length]!
    play.feed(bytes.subarray(at, next))
    play.sent()
    play.now++
    if (piece % 16 === 15) play.session.tick()
    at = next
  }
  play.session.close("the socket was closed")
  play.sent()
  for (const answer of play.answers) {
    if (answer === undefined) throw new Error("a request has no end")
    if (Result.isFailure(answer)) Fuzz.checkWords(answer.failure.message)
  }
  if (play.ending === undefined || play.session.pending > 0) throw new Error("the session has no end")
  Fuzz.checkWords(play.ending.detail)
  if ((play.ending.goaway?.earlier ?? []).join("").length > maxHeldBytes) throw new Error("too much is kept")
}

const times = (frame: Uint8Array) => (size: number): Dialogue =>
  whole(Buffer.concat(Array.from({ length: Math.ceil(size / frame.length) }, () => frame)))

/** A header block of a size, in as many frames as it needs. */
const block = (name: string, value: string) => (size: number): Dialogue => {
  const fields = Peer.block([[":status", "200"], [
    name,
    value === "" ? "" : Hostile.fill(value, Math.min(size, 60_000))
  ]])
  const parts: Array<Uint8Array> = []
  for (let at = 0; at < fields.length; at += 16_384) {
    const isLast = at + 16_384 >= fields.length
    parts.push(Peer.frame(
      at === 0 ? Type.headers : Type.continuation,
      isLast ? Flag.endHeaders : 0,
      1,
      fields.subarray(at, at + 16_384)
    ))
  }
  return whole(Buffer.concat(parts))
}

export const target = Fuzz.make<Dialogue>({
  name: "http2",
  about: "the frames of an HTTP/2 server",
  rounds: 1500,
  make: (random, size) => {
    const bytes = Buffer.concat(frames(random, size))
    return {
      bytes: random.chance(0.3) ? Hostile.mutate(random, bytes) : bytes,
      cuts: random.pick([[1], [2, 9], [9], [100, 1, 3], [random.between(1, 500)], [16_384]])
    }
  },
  feed: play,
  grow: [
    ...[
      Peer.settings(),
      Peer.settings(...Array.from({ length: 100 }, () => [Setting.headerTableSize, 0xffffffff] as const)),
      Peer.ping(0),
      Peer.windowUpdate(0, 1),
      Peer.goaway(2 ** 31 - 1, 0, "\u001b"),
      Peer.goaway(2 ** 31 - 1, 0, "x".repeat(10_000)),
      Peer.headers(1, [[":status", "103"], ["link", "x".repeat(100)]]),
      Peer.frame(Type.headers, 0, 1, Buffer.from([0x88])),
      Peer.frame(Type.continuation, 0, 1, Buffer.alloc(100)),
      Peer.data(1, "x", 0),
      Peer.frame(0x42, 0, 1, Buffer.alloc(16_384))
    ].map(times),
    (size) => ({ ...times(Peer.ping(0))(size), cuts: [1] }),
    (size) => whole(Peer.frame(Type.headers, Flag.endHeaders, 1, Buffer.alloc(Math.min(size, 16_384), 0x90))),
    (size) => whole(Buffer.alloc(size, "H")),
    (size) => whole(Buffer.from("HTTP/1.1 503 ".padEnd(size, "x"))),
    ...Hostile.runs.filter((run) => /^[\x21-\x7e]/.test(run)).map((run) => block("x", run))
  ]
})
