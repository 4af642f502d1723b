/**
 * Checks a reply against its command: its kind, its id or tube, its size and its
 * number. Pure.
 *
 * After a reply that can't answer its command it is unknown which command the
 * next reply answers. So the caller must end the connection.
 */
import { safeName } from "../../internal/text.ts"
import type { Command } from "./command.ts"
import type { BodyHead, Reply } from "./reply.ts"

/** The limit of statistics. The server's have less than 2,000 bytes. */
export const maxStatisticsBytes = 65_536
/** The limit of a list of tubes: room for 300,000 of the longest names. */
export const maxListBytes = 67_108_864
/** The limit of a job until the server has sent its own: the largest that `-z` allows. */
export const maxJobBytes = 1_073_741_824

/** The limit of the body of a reply, in bytes. */
export const bodyLimit = (command: Command, kind: BodyHead["kind"], maxJobSize: number): number =>
  kind !== "Ok"
    ? maxJobSize
    : command._tag === "ListTubes" || command._tag === "ListTubesWatched"
    ? maxListBytes
    : maxStatisticsBytes

/** Whether this reply can answer any command. */
const isTrouble = (command: Command, reply: Reply): boolean => {
  switch (reply._tag) {
    case "OutOfMemory":
    case "InternalError":
      return command._tag !== "Quit"
    // After these replies to a put the server would read its body as commands.
    case "BadFormat":
    case "UnknownCommand":
      return command._tag !== "Quit" && command._tag !== "Put"
    default:
      return false
  }
}

/** Whether this reply can answer this command. */
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

/** The content of a reply, for the message. */
const contentOf = (reply: Reply): string => {
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

/** Why a reply can't answer a command. `undefined` if it can. */
export const mismatch = (command: Command, reply: Reply): string | undefined =>
  fits(command, reply) || isTrouble(command, reply)
    ? undefined
    : `it answered "${reply._tag}"${contentOf(reply)} to ${command._tag}`
