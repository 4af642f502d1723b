/** A local APNs for tests, with certificates and keys. */
export * as Certificate from "../push/Certificate.ts"
export * as ApnsSimulator from "./ApnsSimulator.ts"
export * as Key from "./Key.ts"
export * as Script from "./Script.ts"
