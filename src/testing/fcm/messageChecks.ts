/**
 * The checks of a message: names, types, target, sizes. Pure. It repeats rules of
 * `backq/fcm` on purpose: shared code would hide a mistake of the client.
 *
 * Source: Google, "REST Resource: projects.messages".
 */
import { type Refusal, refusal } from "./answers.ts"

type Json = Readonly<Record<string, unknown>>

/** A type of a field: a test of its value, or the fields of an object. */
type Type = ((value: unknown) => boolean) | { readonly [name: string]: Type }

const isString = (value: unknown): value is string => typeof value === "string"
const isFlag = (value: unknown): boolean => typeof value === "boolean"
const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)
const isMap = (value: unknown): boolean => isObject(value) && Object.values(value).every(isString)
const isDuration = (value: unknown): boolean => isString(value) && /^\d+(\.\d{1,9})?s$/.test(value)
const isColor = (value: unknown): boolean => isString(value) && /^#[0-9a-fA-F]{6}$/.test(value)
const isCount = (value: unknown): boolean => Number.isInteger(value)
const isUnit = (value: unknown): boolean => typeof value === "number" && value >= 0 && value <= 1
const isLabel = (value: unknown): boolean => isString(value) && /^[a-zA-Z0-9\-_.~%]{1,50}$/.test(value)
const listOf = (test: (value: unknown) => boolean) => (value: unknown): boolean =>
  Array.isArray(value) && value.every(test)
const oneOf = (...names: ReadonlyArray<string>) => (value: unknown): boolean =>
  isString(value) && names.includes(value.toUpperCase())

const fcmOptions: Type = { analytics_label: isLabel }

const message: { readonly [name: string]: Type } = {
  name: isString,
  token: isString,
  fid: isString,
  topic: isString,
  condition: isString,
  data: isMap,
  notification: { title: isString, body: isString, image: isString },
  fcm_options: fcmOptions,
  android: {
    collapse_key: isString,
    priority: oneOf("NORMAL", "HIGH"),
    ttl: isDuration,
    restricted_package_name: isString,
    data: isMap,
    fcm_options: fcmOptions,
    direct_boot_ok: isFlag,
    bandwidth_constrained_ok: isFlag,
    restricted_satellite_ok: isFlag,
    notification: {
      title: isString,
      body: isString,
      icon: isString,
      color: isColor,
      sound: isString,
      tag: isString,
      click_action: isString,
      body_loc_key: isString,
      body_loc_args: listOf(isString),
      title_loc_key: isString,
      title_loc_args: listOf(isString),
      channel_id: isString,
      ticker: isString,
      sticky: isFlag,
      event_time: isString,
      local_only: isFlag,
      notification_priority: oneOf(
        "PRIORITY_MIN",
        "PRIORITY_LOW",
        "PRIORITY_DEFAULT",
        "PRIORITY_HIGH",
        "PRIORITY_MAX"
      ),
      default_sound: isFlag,
      default_vibrate_timings: isFlag,
      default_light_settings: isFlag,
      vibrate_timings: listOf(isDuration),
      visibility: oneOf("PRIVATE", "PUBLIC", "SECRET"),
      notification_count: isCount,
      light_settings: {
        color: { red: isUnit, green: isUnit, blue: isUnit, alpha: isUnit },
        light_on_duration: isDuration,
        light_off_duration: isDuration
      },
      image: isString,
      proxy: oneOf("ALLOW", "DENY", "IF_PRIORITY_LOWERED"),
      bypass_proxy_notification: isFlag
    }
  },
  apns: {
    headers: isMap,
    payload: isObject,
    fcm_options: { analytics_label: isLabel, image: isString },
    live_activity_token: isString
  },
  webpush: {
    headers: isMap,
    data: isMap,
    notification: isObject,
    fcm_options: { analytics_label: isLabel, link: isString }
  }
}

/** A name with underscores. */
const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

const violation = (field: string, description: string): Refusal =>
  refusal(400, {
    message: `Invalid value at '${field}': ${description}`,
    errorCode: "INVALID_ARGUMENT",
    field,
    description
  })

/** The first name or type that the API does not know. */
const typeFault = (value: Json, fields: { readonly [name: string]: Type }, path: string): Refusal | undefined => {
  for (const [given, part] of Object.entries(value)) {
    const name = snake(given)
    const type = Object.hasOwn(fields, name) ? fields[name]! : undefined
    const at = `${path}.${name}`
    if (type === undefined) {
      return refusal(400, {
        message: `Invalid JSON payload received. Unknown name "${given}" at '${path}': Cannot find field.`,
        field: path,
        description: `Unknown name "${given}"`
      })
    }
    if (typeof type === "function") {
      if (!type(part)) return violation(at, "the value has a wrong type or form")
    } else {
      const fault = isObject(part) ? typeFault(part, type, at) : violation(at, "must be an object")
      if (fault !== undefined) return fault
    }
  }
  return undefined
}

/** Writes the names of known fields with underscores. */
const inSnakeCase = (value: Json, fields: { readonly [name: string]: Type }): Json =>
  Object.fromEntries(
    Object.entries(value).map(([name, part]) => {
      const type = fields[snake(name)]
      return [snake(name), isObject(part) && typeof type === "object" ? inSnakeCase(part, type) : part]
    })
  )

const part = (value: Json, name: string): Json => {
  const found = value[name]
  return isObject(found) ? found : {}
}

const targetFault = (value: Json): Refusal | undefined => {
  const given = ["token", "fid", "topic", "condition"].filter((name) => value[name] !== undefined)
  if (given.length !== 1) {
    return violation("message", "Exactly one of token, fid, topic or condition is required")
  }
  const { condition, topic } = value
  if (isString(topic) && !/^[a-zA-Z0-9\-_.~%]+$/.test(topic)) return violation("message.topic", "Malformed topic name")
  if (isString(condition)) {
    const topics = condition.match(/'[^']*' in topics/g) ?? []
    const rest = condition.replaceAll(/'[a-zA-Z0-9\-_.~%]+' in topics/g, "T").replaceAll(" ", "")
    if (topics.length === 0 || topics.length > 5 || !/^[T!()&|]+$/.test(rest)) {
      return violation("message.condition", "Invalid condition expression")
    }
  }
  return undefined
}

const tokenFault = (value: Json): Refusal | undefined => {
  const token = value["token"] ?? value["fid"]
  return isString(token) && !/^[A-Za-z0-9_:-]{8,4096}$/.test(token)
    ? refusal(400, {
      errorCode: "INVALID_ARGUMENT",
      message: "The registration token is not a valid FCM registration token"
    })
    : undefined
}

const reserved = /^(?:from$|message_type$|google\.|gcm\.notification\.)/

const contentFault = (value: Json): Refusal | undefined => {
  const android = part(value, "android")
  const notification = part(android, "notification")
  for (
    const [at, data] of [["message.data", part(value, "data")], [
      "message.android.data",
      part(android, "data")
    ]] as const
  ) {
    const key = Object.keys(data).find((key) => reserved.test(key))
    if (key !== undefined) return violation(at, `Invalid data payload key: ${key}`)
  }
  let size = 0
  for (const [key, text] of [...Object.entries(part(value, "data")), ...Object.entries(part(value, "notification"))]) {
    size += Buffer.byteLength(key) + Buffer.byteLength(String(text))
  }
  const limit = value["topic"] !== undefined || value["condition"] !== undefined ? 2048 : 4096
  if (size > limit) return violation("message", "Android message is too big")
  const ttl = android["ttl"]
  if (isString(ttl) && Number(ttl.slice(0, -1)) > 2_419_200) return violation("message.android.ttl", "Invalid ttl")
  for (const name of ["title", "body"]) {
    if (notification[`${name}_loc_args`] !== undefined && notification[`${name}_loc_key`] === undefined) {
      return violation(`message.android.notification.${name}_loc_args`, `needs ${name}_loc_key`)
    }
  }
  return undefined
}

/** A message that passed all checks, with underscores in its names; or its refusal. */
export const checkMessage = (value: unknown): Json | Refusal => {
  if (!isObject(value)) return violation("message", "must be an object")
  const fault = typeFault(value, message, "message")
  if (fault !== undefined) return fault
  const known = inSnakeCase(value, message)
  return targetFault(known) ?? tokenFault(known) ?? contentFault(known) ?? known
}

/** Whether a result of {@link checkMessage} is a refusal. */
export const isRefusal = (value: Json | Refusal): value is Refusal => "status" in value && "body" in value
