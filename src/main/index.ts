/** The main program of workers: `backq/main`. */
export * as Main from "./Main.ts"
