/** Helpers for the tests of services that publish jobs or run them. */
import { Process } from "../process/index.ts"

export { perform, type PerformOptions } from "./Perform.ts"
export * as TestBroker from "./TestBroker.ts"

/**
 * Runs processes, or in its `layerTest` only records them: {@link Process.ProcessRunner}.
 *
 * @category services
 * @since 0.1.0
 */
export const ProcessRunner = Process.ProcessRunner

/**
 * The service of {@link ProcessRunner}.
 *
 * @category services
 * @since 0.1.0
 */
export type ProcessRunner = Process.ProcessRunner

/**
 * The processes that `ProcessRunner.layerTest` recorded: {@link Process.RecordedProcesses}.
 *
 * @category services
 * @since 0.1.0
 */
export const RecordedProcesses = Process.RecordedProcesses

/**
 * The service of {@link RecordedProcesses}.
 *
 * @category services
 * @since 0.1.0
 */
export type RecordedProcesses = Process.RecordedProcesses
