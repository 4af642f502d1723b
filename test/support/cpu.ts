/** How much a computation costs: the processor's time of this thread, so that a busy machine makes no difference. */

/** The processor's time that something takes, in milliseconds. */
export const cpuMillis = (run: () => void): number => {
  const started = process.threadCpuUsage()
  run()
  const { system, user } = process.threadCpuUsage(started)
  return (system + user) / 1000
}
