/**
 * Broadcast channels: one push updates the Live Activities of all devices that follow
 * the channel (iOS 18).
 *
 * The operations are plain values: a {@link Call} is a request and the function that
 * reads its answer. An app may have at most 10,000 channels per environment, and a
 * channel belongs to one environment.
 *
 * Source: Apple, "Sending channel management requests to APNs" and "Sending
 * broadcast push notification requests to APNs".
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { safeName } from "../../../internal/text.ts"
import * as ApnsError from "../answer/ApnsError.ts"
import * as Reason from "../answer/Reason.ts"
import type { BroadcastOptions } from "./Encoder.ts"
import { encodeBroadcast } from "./Encoder.ts"
import type { Notification } from "./Notification.ts"
import { table } from "./PushType.ts"
import { bundleIdRule, isBundleId } from "./rules.ts"

// -----------------------------------------------------------------------------
// Models
// -----------------------------------------------------------------------------

/**
 * What a channel stores for offline devices. `"None"`: nothing; every broadcast must
 * have the expiration 0, and the app may send more of them. `"MostRecent"`: the last
 * message, for at most 8 hours.
 *
 * @category models
 * @since 0.1.0
 */
export type Storage = "None" | "MostRecent"

/**
 * A broadcast channel.
 *
 * @category models
 * @since 0.1.0
 */
export interface BroadcastChannel {
  /** Base64 of any length. Pass it to the apps unchanged. */
  readonly id: string
  readonly storage: Storage
}

/**
 * A request to APNs, without `authorization` and the request's id.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  /** Apple's host for pushes, or for the management of channels. */
  readonly host: "push" | "manage"
  readonly method: "GET" | "POST" | "DELETE"
  readonly path: string
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly body: Uint8Array | undefined
  /** When a broadcast expires, in seconds since 1970; 0 for never. */
  readonly expiration?: number | undefined
}

/**
 * An answer of APNs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Response {
  readonly status: number
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly body: Uint8Array
}

/**
 * A request and the function that reads its answer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Call<A> {
  readonly request: Request
  readonly decode: (response: Response) => Result.Result<A, ApnsError.ApnsError>
}

/**
 * A call, or `InvalidNotification`.
 *
 * @category models
 * @since 0.1.0
 */
export type CallResult<A> = Result.Result<Call<A>, ApnsError.ApnsError>

// -----------------------------------------------------------------------------
// Checks
// -----------------------------------------------------------------------------

const invalid = (field: string, rule: string, apple: Reason.Reason): ApnsError.ApnsError =>
  ApnsError.make(new ApnsError.InvalidNotification({ field, rule, apple }))

const suffix = table.liveactivity.suffix

const checkBundleId = (bundleId: string): ApnsError.ApnsError | undefined => {
  if (!isBundleId(bundleId)) return invalid("bundleId", bundleIdRule, "BadRequestParams")
  return bundleId.endsWith(suffix)
    ? invalid("bundleId", `must not end with "${suffix}": remove it`, "TopicDisallowed")
    : undefined
}

const isChannelId = (id: string | undefined): id is string => id !== undefined && /^[A-Za-z0-9+/_-]+={0,2}$/.test(id)

const checkChannelId = (id: string): ApnsError.ApnsError | undefined => {
  if (id === "") {
    return invalid("channelId", "must not be empty: set the id that createChannel returned", "MissingChannelId")
  }
  return isChannelId(id)
    ? undefined
    : invalid("channelId", "must be base64: set the id exactly as createChannel returned it", "BadChannelId")
}

const checked = <A>(
  problems: ReadonlyArray<ApnsError.ApnsError | undefined>,
  call: () => Call<A>
): CallResult<A> => {
  const first = problems.find((problem) => problem !== undefined)
  return first === undefined ? Result.succeed(call()) : Result.fail(first)
}

// -----------------------------------------------------------------------------
// Wire
// -----------------------------------------------------------------------------

const utf8 = new TextEncoder()

const header = ({ headers }: Response, name: string): string | undefined =>
  headers.find(([other]) => other.toLowerCase() === name)?.[1]

const text = ({ body }: Response): string => new TextDecoder().decode(body)

const wirePolicy: Readonly<Record<Storage, 0 | 1>> = { None: 0, MostRecent: 1 }

const ChannelBody = Schema.fromJsonString(Schema.Struct({ "message-storage-policy": Schema.Literals([0, 1]) }))

const decodeChannel = Schema.decodeUnknownOption(ChannelBody)

const ListBody = Schema.fromJsonString(
  Schema.Struct({ channels: Schema.Array(Schema.String.check(Schema.makeFilter(isChannelId))) })
)

const decodeList = Schema.decodeUnknownOption(ListBody)

/** The id of an answer, escaped for messages. */
const idOf = (response: Response): string | undefined => {
  const id = header(response, "apns-request-id") ?? header(response, "apns-id")
  return id === undefined ? undefined : safeName(id)
}

/** Reads a successful answer. Any other answer becomes its failure. `missing` names what the answer lacks. */
const reading = <A>(read: (response: Response) => A | undefined, missing: string) =>
(
  response: Response
): Result.Result<A, ApnsError.ApnsError> => {
  if (response.status < 200 || response.status > 299) {
    const apnsId = idOf(response)
    return Result.fail(
      ApnsError.fromAnswer({ status: response.status, ...Reason.parseAnswer(text(response), Infinity), apnsId })
    )
  }
  const value = read(response)
  return value === undefined
    ? Result.fail(ApnsError.make(
      new ApnsError.Unknown({ detail: `APNs answered ${response.status} without ${missing}` })
    ))
    : Result.succeed(value)
}

const accepted = reading(
  // A page with the status 200 comes from a login portal.
  (response) => response.body.length === 0 || idOf(response) !== undefined ? true : undefined,
  "the id of the request: another server may have answered, so check the host, port and proxy"
)

/** Reads an answer whose status says everything. */
const done = (response: Response): Result.Result<void, ApnsError.ApnsError> => Result.map(accepted(response), () => {})

const channelsPath = (bundleId: string): string => `/1/apps/${bundleId}/channels`

// -----------------------------------------------------------------------------
// Calls
// -----------------------------------------------------------------------------

const checkStorage = (storage: Storage): ApnsError.ApnsError | undefined =>
  Object.hasOwn(wirePolicy, storage)
    ? undefined
    : invalid("storage", "must be \"None\" or \"MostRecent\"", "MissingChannelQueueSize")

/**
 * Creates a channel and returns its id. A retry after a lost answer creates a second channel.
 *
 * @category accessors
 * @since 0.1.0
 */
export const create = (bundleId: string, storage: Storage): CallResult<string> =>
  checked([checkBundleId(bundleId), checkStorage(storage)], () => ({
    request: {
      host: "manage",
      method: "POST",
      path: channelsPath(bundleId),
      headers: [],
      body: utf8.encode(
        JSON.stringify({ "message-storage-policy": wirePolicy[storage], "push-type": "LiveActivity" })
      )
    },
    decode: reading((response) => {
      const id = header(response, "apns-channel-id")
      return isChannelId(id) ? id : undefined
    }, "the id of the channel")
  }))

/**
 * Reads a channel.
 *
 * @category accessors
 * @since 0.1.0
 */
export const read = (bundleId: string, id: string): CallResult<BroadcastChannel> =>
  checked([checkBundleId(bundleId), checkChannelId(id)], () => ({
    request: {
      host: "manage",
      method: "GET",
      path: channelsPath(bundleId),
      headers: [["apns-channel-id", id]],
      body: undefined
    },
    decode: reading((response) =>
      Option.getOrUndefined(
        Option.map(decodeChannel(text(response)), (body): BroadcastChannel => ({
          id,
          storage: body["message-storage-policy"] === 0 ? "None" : "MostRecent"
        }))
      ), "the storage policy of the channel")
  }))

/**
 * Lists the ids of all channels of an app.
 *
 * @category accessors
 * @since 0.1.0
 */
export const list = (bundleId: string): CallResult<ReadonlyArray<string>> =>
  checked([checkBundleId(bundleId)], () => ({
    request: { host: "manage", method: "GET", path: `/1/apps/${bundleId}/all-channels`, headers: [], body: undefined },
    decode: reading(
      (response) => Option.getOrUndefined(Option.map(decodeList(text(response)), ({ channels }) => channels)),
      "the list of channels"
    )
  }))

/**
 * Deletes a channel permanently.
 *
 * @category accessors
 * @since 0.1.0
 */
export const remove = (bundleId: string, id: string): CallResult<void> =>
  checked([checkBundleId(bundleId), checkChannelId(id)], () => ({
    request: {
      host: "manage",
      method: "DELETE",
      path: channelsPath(bundleId),
      headers: [["apns-channel-id", id]],
      body: undefined
    },
    decode: done
  }))

/**
 * Sends an update or the end of a Live Activity to all devices that follow a channel.
 * The notification's topic is ignored.
 *
 * @category accessors
 * @since 0.1.0
 */
export const send = (
  bundleId: string,
  id: string,
  notification: Notification,
  options?: BroadcastOptions
): CallResult<void> =>
  Result.flatMap(
    encodeBroadcast(notification, options),
    ({ body, expiration, headers }) =>
      checked([checkBundleId(bundleId), checkChannelId(id)], () => ({
        request: {
          host: "push",
          method: "POST",
          path: `/4/broadcasts/apps/${bundleId}`,
          headers: [["apns-channel-id", id], ...headers],
          body,
          expiration
        },
        decode: done
      }))
  )
