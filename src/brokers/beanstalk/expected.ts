/**
 * Holds a reply against the command that it answers: its kind, the id or tube
 * that was asked about, its size, its number. Pure.
 *
 * A reply that can't answer the command means that nobody knows which command
 * the next one answers, so whoever finds one gives up the connection.
 */
import { safeName } from "../../internal/text.ts"
import type { Command } from "./command.ts"
import type { BodyHead, Reply } from "./reply.ts"

/** Bytes that statistics may have. The server's have less than 2,000. */
export const maxStatistics = 65_536
/** Bytes that a list of tubes may have: room for 300,000 names of the longest kind. */
export const maxList = 67_108_864
/** Bytes that a job may have until the server has said its own limit: the largest that `-z` allows. */
export const maxJob = 1_073_741_824

/** How many bytes the body of the answer to a command may have. */
export const bodyLimit = (command: Command, kind: BodyHead["kind"], maxJobSize: number): number =>
  kind !== "Ok"
    ? maxJobSize
    : command._tag === "ListTubes" || command._tag === "ListTubesWatched"
    ? maxList
    : maxStatistics

/** Can any command have this answer? */
const isTrouble = (command: Command, reply: Reply): boolean => {
  switch (reply._tag) {
    case "OutOfMemory":
    case "InternalError":
      return command._tag !== "Quit"
    // After these the server takes the body of a put for commands.
    case "BadFormat":
    case "UnknownCommand":
      return command._tag !== "Quit" && command._tag !== "Put"
    default:
      return false
  }
}

/** Is it one of the answers that the command has to itself? */
const fits = (command: Command, reply: Reply): boolean => {
  switch (command._tag) {
    case "Put":
      return reply._tag === "Inserted" || reply._tag === "Buried" || reply._tag === "JobTooBig" ||
        reply._tag === "Draining"
    case "Use":
      return reply._tag === "Using" && reply.tube === command.tube
    case "Reserve":
    case "ReserveWithTimeout":
      return reply._tag === "Reserved" || reply._tag === "TimedOut" || reply._tag === "DeadlineSoon"
    case "ReserveJob":
      return reply._tag === "Reserved" ? reply.id === command.id : reply._tag === "NotFound"
    case "Delete":
      return reply._tag === "Deleted" || reply._tag === "NotFound"
    case "Release":
      return reply._tag === "Released" || reply._tag === "NotFound" ||
        (reply._tag === "Buried" && reply.id === undefined)
    case "Bury":
      return reply._tag === "NotFound" || (reply._tag === "Buried" && reply.id === undefined)
    case "Touch":
      return reply._tag === "Touched" || reply._tag === "NotFound"
    case "Watch":
      return reply._tag === "Watching"
    case "Ignore":
      return reply._tag === "Watching" || reply._tag === "NotIgnored"
    case "Peek":
      return reply._tag === "Found" ? reply.id === command.id : reply._tag === "NotFound"
    case "PeekReady":
    case "PeekDelayed":
    case "PeekBuried":
      return reply._tag === "Found" || reply._tag === "NotFound"
    case "Kick":
      return reply._tag === "Kicked" && reply.count !== undefined && reply.count <= command.bound
    case "KickJob":
      return reply._tag === "NotFound" || (reply._tag === "Kicked" && reply.count === undefined)
    case "StatsJob":
    case "StatsTube":
      return reply._tag === "Ok" || reply._tag === "NotFound"
    case "Stats":
    case "ListTubes":
    case "ListTubesWatched":
      return reply._tag === "Ok"
    case "ListTubeUsed":
      return reply._tag === "Using"
    case "PauseTube":
      return reply._tag === "Paused" || reply._tag === "NotFound"
    case "Quit":
      return false
  }
}

/** What the reply says beyond its kind, for the message. */
const shown = (reply: Reply): string => {
  switch (reply._tag) {
    case "Reserved":
    case "Found":
    case "Buried":
      return reply.id === undefined ? "" : ` of job ${reply.id}`
    case "Using":
      return ` of tube "${safeName(reply.tube)}"`
    case "Kicked":
      return reply.count === undefined ? "" : ` of ${reply.count} jobs`
  }
  return ""
}

/** Why a reply can't be the answer to a command. Undefined when it can. */
export const objection = (command: Command, reply: Reply): string | undefined =>
  fits(command, reply) || isTrouble(command, reply)
    ? undefined
    : `it answered "${reply._tag}"${shown(reply)} to ${command._tag}`
