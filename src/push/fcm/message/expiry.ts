/**
 * When a message expires in the queue. Pure.
 *
 * Each platform has a field for it: `android.ttl` and the header `TTL` of `webpush` count
 * from the publication, the header `apns-expiration` of `apns` is a time. A token does not
 * tell its platform, so the latest of them counts. With a 0 there is one attempt at any time.
 */
import type { Message } from "./Message.ts"
import { secondsOf } from "./rules.ts"

type Headers = Readonly<Record<string, string>> | undefined

/** The seconds in a header, whose name may be in any case; `undefined` if it has none. */
const secondsIn = (headers: Headers, name: string): number | undefined => {
  const value = Object.entries(headers ?? {}).find(([key]) => key.toLowerCase() === name)?.[1].trim()
  return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : undefined
}

/** When a valid message expires, in milliseconds since 1970; `undefined`: never. `publishedAt` is `undefined` if unknown. */
export const expiresAt = (
  { android, apns, webpush }: Message,
  publishedAt: number | undefined
): number | undefined => {
  const ttl = android?.ttl === undefined ? undefined : secondsOf(android.ttl)
  const fromPublication = [ttl, secondsIn(webpush?.headers, "ttl")]
  const ends = [
    ...fromPublication.map((seconds) => ({ seconds, from: publishedAt })),
    { seconds: secondsIn(apns?.headers, "apns-expiration"), from: 0 }
  ].flatMap(({ from, seconds }) =>
    seconds === undefined ? [] : [seconds === 0 || from === undefined ? Infinity : from + seconds * 1000]
  )
  const last = Math.max(...ends)
  return Number.isFinite(last) ? last : undefined
}
