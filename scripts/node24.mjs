/**
 * Preloaded by the npm scripts: ends with one line where Node.js is too old to
 * run TypeScript. On Linux (x64, arm64) `npm ci` brings a Node.js that is new
 * enough; elsewhere it is the system's.
 */
const needed = 24

if (Number.parseInt(process.versions.node) < needed) {
  process.stderr.write(
    `backq needs Node.js ${needed} or newer, and this is ${process.version}: ` +
      `run npm ci, which brings one on Linux, or install Node.js ${needed} and put it first in the PATH\n`
  )
  process.exit(1)
}
