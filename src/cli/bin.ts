#!/usr/bin/env node
/**
 * The `backq` program. It loads the rest only on a Node.js that can run it:
 * an older one would print a stack trace instead of a reason.
 */
if (Number.parseInt(process.versions.node) >= 24) {
  await import("./program.ts")
} else {
  process.stderr.write(`backq needs Node.js 24 or newer; this is ${process.version}\n`)
  process.exitCode = 1
}
