/** Sends messages to browsers by Web Push (RFC 8030). */
export * as AddressGuard from "./subscription/AddressGuard.ts"
export * as Endpoints from "./subscription/Endpoints.ts"
export * as Subscription from "./subscription/Subscription.ts"
