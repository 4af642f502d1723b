/** A local push service for browsers, for tests. */
export { Certificate } from "../push/index.ts"
export * as Browser from "./Browser.ts"
export * as Personality from "./Personality.ts"
export * as Script from "./Script.ts"
export * as WebPushSimulator from "./WebPushSimulator.ts"
