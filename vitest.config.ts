import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts", "scripts/examples/**/*.test.ts"],
    // a test that takes longer says why: test/support/limits.ts
    testTimeout: 5_000,
    hookTimeout: 5_000
  }
})
