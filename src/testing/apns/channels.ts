/**
 * The broadcast channels of apps, in memory.
 *
 * Source: Apple, "Sending channel management requests to APNs".
 */
// @effect-diagnostics nodeBuiltinImport:off
import { randomBytes } from "node:crypto"
import { parseJson } from "../../internal/json.ts"
import { appOf, type Incoming, type Refusal } from "./incoming.ts"

/** A channel in the form of Apple's answer. */
export interface Channel {
  /** 0: only devices that listen get a message. 1: devices that come later get the last one. */
  readonly "message-storage-policy": 0 | 1
  readonly "push-type": "LiveActivity"
}

/** The answer to a request about channels. */
export interface ChannelAnswer {
  readonly status: 200 | 201 | 204
  readonly channelId?: string
  readonly body?: Channel | { readonly channels: ReadonlyArray<string> }
}

/** The channels of all apps. */
export interface Channels {
  readonly find: (bundleId: string, id: string) => Channel | undefined
  /** Answers a request that has passed all checks of headers and provider. */
  readonly answer: (request: Incoming) => ChannelAnswer | Refusal
}

/** An app may have at most this many channels in each environment. */
const maxChannels = 10_000

/** Makes an empty set of channels. */
export const make = (): Channels => {
  const apps = new Map<string, Map<string, Channel>>()

  const channelsOf = (bundleId: string): Map<string, Channel> => {
    const found = apps.get(bundleId) ?? new Map<string, Channel>()
    apps.set(bundleId, found)
    return found
  }

  const create = (channels: Map<string, Channel>, body: string): ChannelAnswer | Refusal => {
    const asked = parseJson(body)
    if (typeof asked !== "object" || asked === null) return { reason: "BadRequestPayload" }
    const { "message-storage-policy": policy, "push-type": pushType } = asked as Record<string, unknown>
    if (pushType !== "LiveActivity") return { reason: "BadRequestPayload" }
    if (policy !== 0 && policy !== 1) return { reason: "MissingChannelQueueSize" }
    if (channels.size >= maxChannels) return { reason: "CannotCreateChannelConfig" }
    const channelId = randomBytes(16).toString("base64")
    channels.set(channelId, { "message-storage-policy": policy, "push-type": pushType })
    return { status: 201, channelId }
  }

  const withId = (
    channels: Map<string, Channel>,
    { headers }: Incoming,
    use: (channel: Channel, id: string) => ChannelAnswer
  ): ChannelAnswer | Refusal => {
    const id = headers["apns-channel-id"]
    if (id === undefined) return { reason: "MissingChannelId" }
    const channel = channels.get(id)
    return channel === undefined ? { reason: "ChannelNotRegistered" } : use(channel, id)
  }

  return {
    find: (bundleId, id) => apps.get(bundleId)?.get(id),
    answer: (request) => {
      const channels = channelsOf(appOf(request.path))
      if (request.path.endsWith("/all-channels")) {
        return request.method === "GET"
          ? { status: 200, body: { channels: Array.from(channels.keys()) } }
          : { reason: "MethodNotAllowed" }
      }
      switch (request.method) {
        case "POST":
          return create(channels, request.body)
        case "GET":
          return withId(channels, request, (channel, channelId) => ({ status: 200, channelId, body: channel }))
        case "DELETE":
          return withId(channels, request, (_channel, id) => {
            channels.delete(id)
            return { status: 204 }
          })
        default:
          return { reason: "MethodNotAllowed" }
      }
    }
  }
}
