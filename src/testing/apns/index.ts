/** A local APNs for tests, with certificates and keys. */
export * as ApnsSimulator from "./ApnsSimulator.ts"
export * as Certificate from "./Certificate.ts"
export * as Key from "./Key.ts"
export * as Script from "./Script.ts"
