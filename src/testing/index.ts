/** Helpers for the tests of services that publish jobs or run them. */
import { Process } from "../process/index.ts"

export { perform, type PerformOptions } from "./Perform.ts"
export * as TestBroker from "./TestBroker.ts"

/**
 * Runs nothing and records what it was asked to run: {@link Process.ProcessRunner}.
 *
 * @category services
 * @since 0.1.0
 */
export const ProcessRunner = Process.ProcessRunner

/**
 * The decoded {@link ProcessRunner}.
 *
 * @category services
 * @since 0.1.0
 */
export type ProcessRunner = Process.ProcessRunner

/**
 * What `ProcessRunner.layerTest` was asked to run: {@link Process.RecordedProcesses}.
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
