import { assert, describe, it } from "@effect/vitest"
import { BrokerError, Unavailable } from "../../../src/BrokerError.ts"
import type { Command } from "../../../src/brokers/beanstalk/command.ts"
import { type Answer, Pipeline } from "../../../src/brokers/beanstalk/pipeline.ts"

const command = (id: number): Command => ({ _tag: "Delete", id: String(id) })
const deleted: Answer = { _tag: "Deleted" }

const errors = {
  sent: new BrokerError({ reason: new Unavailable({ broker: "b", fate: "Unknown", detail: "cut" }) }),
  notSent: new BrokerError({ reason: new Unavailable({ broker: "b", fate: "NotSent", detail: "cut" }) })
}

/** Answers in short: d for a reply, u for an unknown fate, n for not sent. */
const short = (answers: ReadonlyArray<Answer>) =>
  answers.map((answer) => {
    if (answer._tag !== "Unanswered") return "d"
    return answer.error === errors.sent ? "u" : "n"
  }).join("")

const setUp = () => {
  const pipeline = new Pipeline()
  const settled: Array<string> = []
  const submit = (name: string, count: number) =>
    pipeline.submit(Array.from({ length: count }, (_, i) => command(i)), (answers) => {
      settled.push(`${name}:${short(answers)}`)
    })
  const send = (count: number) => {
    for (let i = 0; i < count; i++) pipeline.next()
  }
  const reply = (count: number) => {
    for (let i = 0; i < count; i++) assert.isTrue(pipeline.answer(deleted))
  }
  return { pipeline, settled, submit, send, reply }
}

describe("Pipeline", () => {
  it("answers the oldest batch without an answer", () => {
    const { pipeline, reply, send, settled, submit } = setUp()
    submit("a", 2)
    submit("b", 1)
    submit("none", 0)
    assert.deepStrictEqual(settled, ["none:"])
    send(3)
    assert.isUndefined(pipeline.next())
    assert.strictEqual(pipeline.outstanding, 3)
    reply(2)
    assert.deepStrictEqual(settled, ["none:", "a:dd"])
    reply(1)
    assert.deepStrictEqual(settled, ["none:", "a:dd", "b:d"])
    assert.strictEqual(pipeline.outstanding, 0)
  })

  it("refuses a reply without a command", () => {
    const { pipeline, reply, send, submit } = setUp()
    assert.isFalse(pipeline.answer(deleted))
    submit("a", 2)
    assert.isFalse(pipeline.answer(deleted))
    send(1)
    reply(1)
    assert.isFalse(pipeline.answer(deleted))
  })

  it("settles all batches at its end, and marks the commands that were sent", () => {
    const { pipeline, reply, send, settled, submit } = setUp()
    submit("a", 3)
    submit("b", 2)
    send(4)
    reply(1)
    pipeline.end(errors)
    pipeline.end({ sent: errors.notSent, notSent: errors.sent })
    assert.deepStrictEqual(settled, ["a:duu", "b:un"])
    submit("late", 2)
    assert.deepStrictEqual(settled, ["a:duu", "b:un", "late:nn"])
    assert.isFalse(pipeline.answer(deleted))
  })

  it("cancels the unsent commands of a batch, and stays in step", () => {
    const { pipeline, reply, send, settled, submit } = setUp()
    const cancelPart = submit("part", 3)
    const cancelAll = submit("all", 2)
    submit("after", 1)
    send(1)
    cancelPart()
    cancelAll()
    send(1)
    assert.isUndefined(pipeline.next())
    reply(1)
    assert.deepStrictEqual(settled, ["part:d", "all:"])
    reply(1)
    assert.deepStrictEqual(settled, ["part:d", "all:", "after:d"])
  })

  it("accepts batches while it settles others", () => {
    const { pipeline, reply, send, settled, submit } = setUp()
    pipeline.submit([command(1)], () => {
      submit("inner", 1)
      settled.push("outer")
    })
    submit("second", 1)
    send(2)
    reply(2)
    send(1)
    reply(1)
    assert.deepStrictEqual(settled, ["outer", "second:d", "inner:d"])
  })

  it("wakes the sender for each batch, and knows the unsent commands", () => {
    const { pipeline, send, submit } = setUp()
    let woken = 0
    pipeline.wake = () => {
      woken++
    }
    assert.isFalse(pipeline.hasUnsent)
    const cancel = submit("a", 2)
    assert.strictEqual(woken, 1)
    send(1)
    assert.isTrue(pipeline.hasUnsent)
    assert.strictEqual(pipeline.awaited?._tag, "Delete")
    cancel()
    assert.isFalse(pipeline.hasUnsent)
  })
})
