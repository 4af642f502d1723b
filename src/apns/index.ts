/** Apple push notifications. */
export * as ApnsError from "./ApnsError.ts"
export * as Reason from "./Reason.ts"
