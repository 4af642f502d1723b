import { retryAfter } from "../../src/internal/peerNumber.ts"
import * as Verdict from "../../src/push/apns/answer/answerPolicy.ts"
import * as ApnsError from "../../src/push/apns/answer/ApnsError.ts"
import * as Reason from "../../src/push/apns/answer/Reason.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"

const now = 1_764_000_000_000
const token = "ab".repeat(32)

interface Answer {
  readonly status: number
  readonly body: Uint8Array
  readonly retryAfter: string
  readonly id: string
}

const decoder = new TextDecoder()

const read = ({ body, id, retryAfter: after, status }: Answer) => {
  const read = Reason.parseAnswer(decoder.decode(body), now)
  if (read.timestamp !== undefined && !(read.timestamp > 0 && read.timestamp <= now)) throw new Error("a wrong time")
  if ((read.reason === undefined) !== (read.isForeign === true)) throw new Error("whose answer is it?")
  Verdict.ofRefusal(Reason.classifyBody(status, read))
  Verdict.faultIn(decoder.decode(body))
  const wait = retryAfter(after, now)
  const apnsId = Reason.idOf(id)
  const error = ApnsError.fromAnswer({
    status,
    ...read,
    token,
    ...(apnsId === undefined ? undefined : { apnsId }),
    ...(wait === undefined ? undefined : { retryAfter: wait })
  })
  if (read.isForeign === true && ["DropToken", "CheckToken", "FixNotification", "ReportBug"].includes(error.action)) {
    throw new Error(`${error.action} for what is not Apple's`)
  }
  Fuzz.checkWords(error.message)
  if (apnsId !== undefined) Fuzz.checkWords(apnsId)
}

const statuses = [302, 400, 401, 403, 404, 405, 408, 410, 413, 418, 421, 425, 429, 451, 500, 502, 503, 600]
const afters = ["7", "0", "400000000", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "5, 6"]
const answer = (part: Partial<Answer>): Answer => ({
  status: 410,
  body: new Uint8Array(0),
  retryAfter: "",
  id: "",
  ...part
})

export const target = Fuzz.make<Answer>({
  name: "apns answer",
  about: "the answers to a push",
  rounds: 2000,
  make: (random, size) => ({
    status: random.pick(statuses),
    body: random.chance(0.6)
      ? Hostile.bytesOf(Hostile.jsonObject(random, size, { reason: "Unregistered", timestamp: 1_732_000_000_123 }))
      : Hostile.bytes(random, size),
    retryAfter: random.chance(0.5)
      ? decoder.decode(Hostile.mutate(random, Hostile.bytesOf(random.pick(afters))))
      : Hostile.text(random, size),
    id: random.chance(0.5)
      ? decoder.decode(Hostile.mutate(random, Hostile.bytesOf("0193b4a0-0000-7000-8000-000000000000")))
      : Hostile.text(random, size)
  }),
  feed: read,
  grow: [
    ...Hostile.runs.flatMap((run) => [
      (size: number) => answer({ body: Hostile.bytesOf(Hostile.fill(run, size)) }),
      (size: number) => answer({ body: Hostile.bytesOf(JSON.stringify({ reason: Hostile.fill(run, size) })) }),
      (size: number) => answer({ retryAfter: Hostile.fill(run, size) }),
      (size: number) => answer({ id: Hostile.fill(run, size) })
    ]),
    (size) => answer({ body: Hostile.bytesOf(`{"reason":${"[".repeat(size)}`) })
  ]
})
