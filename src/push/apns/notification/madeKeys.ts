/** Which root keys of a payload are those of a maker: data of the app is refused under them. Pure. */
import type { Payload } from "./Payload.ts"
import type { PushType } from "./PushType.ts"

/** Is it a key of the maker's own? `domain` is a file provider's even where the maker is given none: the system reads it. */
export const isMade = (pushType: PushType, payload: Payload, key: string): boolean =>
  key === "aps" || Object.hasOwn(payload, key) || (pushType === "fileprovider" && key === "domain")
