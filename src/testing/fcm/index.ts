/** A local FCM for tests, with service accounts. */
export * as Account from "./Account.ts"
export * as FcmSimulator from "./FcmSimulator.ts"
export * as Script from "./Script.ts"
