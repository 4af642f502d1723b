/**
 * The name of an app on a device. Apple doesn't promise a length; Live
 * Activities have longer ones than apps.
 */
import { WrongToken } from "../answer/ApnsError.ts"

/**
 * What is wrong with a token, as APNs would say it; `undefined` for one of whole bytes in hexadecimal.
 *
 * @category functions
 * @since 0.1.0
 */
export const check = (token: string): WrongToken | undefined => {
  // a database may have none for a device
  const text = typeof token === "string" ? token : ""
  return /^(?:[0-9a-fA-F]{2})+$/.test(text)
    ? undefined
    : new WrongToken({ status: 400, reason: text === "" ? "MissingDeviceToken" : "BadDeviceToken", token: text })
}

/**
 * Where a push to this token is posted.
 *
 * @category functions
 * @since 0.1.0
 */
export const path = (token: string): string => `/3/device/${token}`
