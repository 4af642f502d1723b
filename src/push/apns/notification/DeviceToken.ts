/**
 * Device tokens: the addresses of an app on a device. Apple does not promise a length;
 * those of Live Activities are longer than those of apps.
 */
import { WrongToken } from "../answer/ApnsError.ts"

/**
 * The failure of an invalid token, with Apple's reason; `undefined` if it has whole bytes in hexadecimal.
 *
 * @category functions
 * @since 0.1.0
 */
export const check = (token: string): WrongToken | undefined => {
  // A program without types may pass null from its database.
  const text = typeof token === "string" ? token : ""
  return /^(?:[0-9a-fA-F]{2})+$/.test(text)
    ? undefined
    : new WrongToken({ status: 400, reason: text === "" ? "MissingDeviceToken" : "BadDeviceToken", token: text })
}

/**
 * The path of a push to this token.
 *
 * @category functions
 * @since 0.1.0
 */
export const path = (token: string): string => `/3/device/${token}`
