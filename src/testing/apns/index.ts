/** A local APNs for tests, with certificates and keys. */
export { Certificate } from "../push/index.ts"
export * as ApnsSimulator from "./ApnsSimulator.ts"
export * as Key from "./Key.ts"
export * as Script from "./Script.ts"
