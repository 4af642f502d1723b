/** The root keys of a payload that its constructor owns. Data of the app can't use them. Pure. */
import type { Payload } from "./Payload.ts"
import type { PushType } from "./PushType.ts"

/** Whether the constructor owns a key. It owns `domain` of a file provider even without a value: the system reads it. */
export const isMade = (pushType: PushType, payload: Payload, key: string): boolean =>
  key === "aps" || Object.hasOwn(payload, key) || (pushType === "fileprovider" && key === "domain")
