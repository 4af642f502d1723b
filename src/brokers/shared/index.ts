export * as Checked from "./checked.ts"
export * as Paging from "./paging.ts"
export * as Rules from "./rules.ts"
export * as Services from "./services.ts"
