export * as Paging from "./paging.ts"
