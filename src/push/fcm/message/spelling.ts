/**
 * Reads the names of Google's API in both spellings: `collapse_key` and `collapseKey`.
 * Only names that backq knows change; the app's own keys do not. Pure.
 */
import { isPlain } from "../../../internal/plainJson.ts"

/** The names of several words on one level of a message, and the levels below it. */
interface Level {
  readonly names: ReadonlyArray<string>
  readonly below?: Readonly<Record<string, Level>>
}

const fcmOptions: Level = { names: ["analyticsLabel"] }

const message: Level = {
  names: ["fcmOptions"],
  below: {
    fcmOptions,
    android: {
      names: [
        "collapseKey",
        "restrictedPackageName",
        "fcmOptions",
        "directBootOk",
        "bandwidthConstrainedOk",
        "restrictedSatelliteOk"
      ],
      below: {
        fcmOptions,
        notification: {
          names: [
            "clickAction",
            "bodyLocKey",
            "bodyLocArgs",
            "titleLocKey",
            "titleLocArgs",
            "channelId",
            "eventTime",
            "localOnly",
            "notificationPriority",
            "defaultSound",
            "defaultVibrateTimings",
            "defaultLightSettings",
            "vibrateTimings",
            "notificationCount",
            "lightSettings",
            "bypassProxyNotification"
          ],
          below: { lightSettings: { names: ["lightOnDuration", "lightOffDuration"] } }
        }
      }
    },
    apns: { names: ["fcmOptions", "liveActivityToken"], below: { fcmOptions } },
    webpush: { names: ["fcmOptions"], below: { fcmOptions } }
  }
}

const camel = (name: string): string =>
  name.includes("_") ? name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()) : name

const respelled = (value: unknown, { below = {}, names }: Level): unknown => {
  if (typeof value !== "object" || value === null || !isPlain(value)) return value
  const source = value as Record<string, unknown>
  return Object.fromEntries(
    Object.entries(source).map(([key, part]) => {
      const other = camel(key)
      // A name that stands there in both spellings stays, and Google refuses it.
      const name = names.includes(other) && !Object.hasOwn(source, other) ? other : key
      const level = Object.hasOwn(below, name) ? below[name] : undefined
      return [name, level === undefined ? part : respelled(part, level)]
    })
  )
}

/** A message with the names of backq. */
export const inCamelCase = (value: unknown): unknown => respelled(value, message)
