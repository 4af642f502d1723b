/**
 * The tests, on every core. There are three projects:
 *
 * - `alone`: each file has a process of its own.
 * - `programs`: files that start programs many times; `backq` is a bundle there.
 * - `shared`: all others.
 *
 * The files of the last two share a process, one after the other: most files
 * take less time than loading Effect does.
 */
import { join } from "node:path"
import { defineConfig } from "vitest/config"

// Programs that tests start find their modules compiled.
process.env["NODE_COMPILE_CACHE"] ??= join(import.meta.dirname, "node_modules", ".cache", "compiled")

const all = ["test/**/*.test.ts", "scripts/examples/**/*.test.ts"]

/** Each replaces a module of Node.js, or measures the time or the memory of its process. */
const alone = [
  "test/brokers/beanstalk/Protocol.test.ts",
  "test/brokers/memory/MemoryBroker.test.ts",
  "test/brokers/sqlite/large.test.ts",
  "test/brokers/sqlite/withoutProc.test.ts",
  "test/cli/numbers.test.ts",
  "test/cli/reader.test.ts",
  "test/fuzz/fuzz.test.ts",
  "test/http2/Flood.test.ts",
  "test/internal/text.test.ts",
  "test/process/Process.test.ts",
  "test/process/policed.test.ts",
  "test/process/withoutProc.test.ts",
  "test/support/fuzz.test.ts"
]

const programs = ["test/cli/**/*.test.ts", "test/main/**/*.test.ts", "test/examples.test.ts"]

export default defineConfig({
  test: {
    // A test that takes longer says why: test/support/limits.ts.
    testTimeout: 5_000,
    hookTimeout: 5_000,
    // The default leaves one core to Vitest itself, which hardly needs it.
    maxWorkers: "100%",
    projects: [
      { extends: true, test: { name: "alone", include: alone } },
      {
        extends: true,
        test: {
          name: "programs",
          include: programs,
          exclude: alone,
          isolate: false,
          globalSetup: "test/support/bundle.ts"
        }
      },
      {
        extends: true,
        test: {
          name: "shared",
          include: all,
          exclude: [...alone, ...programs],
          isolate: false
        }
      }
    ]
  }
})
