/** Checks a message in the order of Mozilla's service. Pure. */
import type { Connection } from "../push/index.ts"
import type { Personality, Refusal } from "./Personality.ts"
import type { Judged } from "./tokens.ts"

/** What a simulator knows of a subscription. */
export interface Subscribed {
  /** The VAPID key that it is restricted to; `undefined` for any. */
  readonly applicationServerKey: string | undefined
  /** Reads a message of its browser, if the simulator has the keys. */
  readonly read: ((body: Uint8Array) => Buffer | undefined) | undefined
  isDead: boolean
}

/** The largest body: RFC 8030, section 7.2. */
const maxBytes = 4096

const urgencies: ReadonlyArray<string> = ["very-low", "low", "normal", "high"]

/** Whether base64 can have this length: Apple decodes the topic. */
const isDecodable = (topic: string): boolean => topic.length % 4 !== 1

const topicRefusal = (topic: string | undefined, personality: Personality): Refusal | undefined =>
  topic === undefined || (/^[\w-]{1,32}$/.test(topic) && (personality !== "apple" || isDecodable(topic)))
    ? undefined
    : "BadTopic"

const headerRefusal = (
  { headers, size }: Connection.Incoming,
  personality: Personality
): Refusal | undefined => {
  const { ttl, topic, urgency } = headers
  if (ttl === undefined || !/^\d{1,10}$/.test(ttl)) return "BadTtl"
  const wrongTopic = topicRefusal(topic, personality)
  if (wrongTopic !== undefined) return wrongTopic
  if (size > 0 && headers["content-encoding"] !== "aes128gcm") return "BadEncoding"
  if (urgency !== undefined && !urgencies.includes(urgency)) return "BadUrgency"
  const policy = headers["x-wns-cache-policy"]
  return personality === "wns" && policy !== (Number(ttl) === 0 ? "no-cache" : "cache") ? "BadCachePolicy" : undefined
}

const refuse = (refusal: Refusal) => ({ refusal, text: undefined })

/** Why a message is refused, and what it says if its browser's keys are known. */
export const check = (
  request: Connection.Incoming,
  { judge, personality, subscribed }: {
    readonly subscribed: Subscribed | undefined
    readonly judge: (authorization: string | undefined) => Judged
    readonly personality: Personality
  }
): { readonly refusal: Refusal | undefined; readonly text: Buffer | undefined } => {
  if (subscribed === undefined || request.method !== "POST") return refuse("UnknownSubscription")
  const judged = judge(request.headers["authorization"])
  if ("refusal" in judged) return refuse(judged.refusal)
  const { applicationServerKey, isDead, read } = subscribed
  if (applicationServerKey !== undefined && applicationServerKey !== judged.publicKey) return refuse("KeyMismatch")
  if (isDead) return refuse("DeadSubscription")
  const wrong = headerRefusal(request, personality)
  if (wrong !== undefined) return refuse(wrong)
  if (request.size > maxBytes) return refuse("TooLarge")
  if (read === undefined || request.size === 0) return { refusal: undefined, text: undefined }
  const text = read(request.bytes)
  return text === undefined ? refuse("BadEncoding") : { refusal: undefined, text }
}
