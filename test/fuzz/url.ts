import * as Result from "effect/Result"
import * as BrokerUrl from "../../src/brokers/url.ts"
import * as Fuzz from "../support/fuzz.ts"
import * as Hostile from "../support/hostile.ts"

const secret = "k7Qz"

const valid: ReadonlyArray<string> = [
  "memory:",
  "memory:?max-job-size=1000",
  "sqlite:./backq.db?durability=full&busy-timeout=10s&history=2h&max-job-size=65535",
  "sqlite:a%3Fb%25c.db",
  "beanstalk://127.0.0.1:11300?connect-timeout=5s&reply-timeout=500ms&reconnect-for=5%20minutes",
  "beanstalk://[::1]:11300",
  "beanstalks://queue.example.com:11400?ca=ca.pem&cert=cert.pem&key=key.pem&servername=queue&min-version=TLSv1.3",
  `beanstalk://svc:${secret}@queue`,
  `beanstalks://svc:a/${secret}?b@c@queue?ca=ca.pem`,
  `sqlite://svc:${secret}@host/jobs.db`
]

const heads: ReadonlyArray<string> = [
  "",
  "sqlite:",
  "sqlite:a?history=",
  "sqlite:a?max-job-size=",
  "sqlite:%41",
  "beanstalk://",
  "beanstalk://h?reply-timeout="
]

export const target = Fuzz.make({
  name: "url",
  about: "the URL of a broker",
  rounds: 2000,
  make: (random, size) =>
    random.chance(0.7)
      ? Buffer.from(Hostile.mutate(random, Hostile.bytesOf(random.pick(valid)))).toString()
      : random.pick(heads) + Hostile.text(random, size),
  feed: (url) => {
    const parsed = BrokerUrl.parse(url)
    // a path may have an @, and no password
    const hidden = url.lastIndexOf("@") > url.lastIndexOf(secret) && !/^(sqlite|memory):(?!\/\/)/i.test(url)
    if (Result.isFailure(parsed) && hidden && parsed.failure.message.includes(secret)) {
      throw new Error(`the password is told: ${parsed.failure.message}`)
    }
    return parsed
  },
  grow: heads.flatMap((head) => Hostile.runs.map((run) => (size: number) => head + Hostile.fill(run, size)))
})
