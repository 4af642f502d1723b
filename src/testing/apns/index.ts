/** An APNs that runs on this machine, and the certificates and keys that tests of pushes need. */
export * as Certificate from "./Certificate.ts"
export * as Key from "./Key.ts"
