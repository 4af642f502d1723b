/** An APNs that runs on this machine, and the certificates and keys that tests of pushes need. */
export * as ApnsSimulator from "./ApnsSimulator.ts"
export * as Certificate from "./Certificate.ts"
export * as Key from "./Key.ts"
export * as Script from "./Script.ts"
