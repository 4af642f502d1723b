/**
 * The name of an app on a device. Apple doesn't promise a length; Live
 * Activities have longer ones than apps.
 */
import { WrongToken } from "./ApnsError.ts"

/** What is wrong with a token, as APNs would say it; `undefined` for one of whole bytes in hexadecimal. */
export const check = (token: string): WrongToken | undefined =>
  /^(?:[0-9a-fA-F]{2})+$/.test(token)
    ? undefined
    : new WrongToken({ status: 400, reason: token === "" ? "MissingDeviceToken" : "BadDeviceToken", token })

/** Where a push to this token is posted. */
export const path = (token: string): string => `/3/device/${token}`
