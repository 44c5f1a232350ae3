/** Circuits joined in pairs (SPEC §11.3): who may join, what is kept for whom and how long, and this node's own end. Circuits by hand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Apex } from '../../relay/apex.ts'
import {
  MEETING_BYTES,
  MEETING_WAIT_MS,
  QUEUE_ALONE_PAYLOADS,
  QUEUE_PAYLOADS,
  RENDEZVOUS_LIMITS,
  RESERVED_PAYLOADS,
  Rendezvous,
  type RendezvousLimits,
} from '../../relay/rendezvous/index.ts'
import { readU32, writeU32 } from '../../src/bytes/index.ts'
import { PAYLOAD_BEAT_MS, PAYLOAD_BYTES, type PayloadFlow } from '../../src/stream/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { Talker } from '../support/talker.ts'

/** A circuit at the rendezvous point, cell by cell. */
class Circuit {
  flow: PayloadFlow | null = null
  readonly #scratch = new Uint8Array(PAYLOAD_BYTES + 9).fill(0x55)

  attach(flow: PayloadFlow): boolean {
    if (this.flow !== null) return false
    this.flow = flow
    return true
  }

  give(number: number): void {
    writeU32(this.#scratch, 5, number)
    this.flow!.onPayload(this.#scratch, 5)
  }

  /** The payload that an answer would carry; `null`: none. */
  take(): number | null {
    if (!this.flow!.due) return null
    this.flow!.take(this.#scratch, 7)
    return readU32(this.#scratch, 7)
  }

  takeAll(): number[] {
    const taken: number[] = []
    for (let next = this.take(); next !== null; next = this.take()) taken.push(next)
    return taken
  }
}

function start(limits: Partial<RendezvousLimits> = {}, memoryBytes = Number.MAX_SAFE_INTEGER) {
  const clock = new FakeClock()
  let held = 0
  const memory = {
    hold: (bytes: number) => {
      if (held + bytes > memoryBytes) return false
      held += bytes
      return true
    },
    release: (bytes: number) => {
      held -= bytes
    },
  }
  const rendezvous = new Rendezvous({ clock, memory, limits: { ...RENDEZVOUS_LIMITS, ...limits } })
  const join = (cookie: number, circuit = new Circuit()) => {
    assert.equal(rendezvous.join(new Uint8Array(32).fill(cookie), circuit), 'ok')
    return circuit
  }
  return { clock, rendezvous, join, heldBytes: () => held }
}

const cookie = (byte: number) => new Uint8Array(32).fill(byte)
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => from + at)

test('who shows one cookie is joined: each takes what the other gives, in order', () => {
  const { join, rendezvous } = start()
  const a = join(1)
  const b = join(1)
  for (const number of range(0, 20)) a.give(number)
  for (const number of range(100, 105)) b.give(number)
  assert.deepEqual([a.flow!.waiting, b.flow!.waiting], [5, 20])
  assert.deepEqual(b.takeAll(), range(0, 20))
  assert.deepEqual(a.takeAll(), range(100, 105))
  assert.equal(rendezvous.figures.payloads, 0)
  const other = join(2)
  other.give(1)
  assert.deepEqual([a.take(), b.take()], [null, null], 'another cookie is another pair')
})

test('nothing is handed to a side from which nothing came: its end may not be there yet', () => {
  const { join } = start()
  const a = join(1)
  const b = join(1)
  a.give(1)
  assert.deepEqual([b.flow!.due, b.flow!.waiting], [false, 0])
  b.give(2)
  assert.deepEqual([b.take(), a.take()], [1, 2])
})

test('a third is refused, as long as the two are there; a circuit joins once', () => {
  const { rendezvous, join } = start()
  const a = join(1)
  assert.equal(rendezvous.join(cookie(1), a), 'refused', 'it cannot be its own other side')
  const b = join(1)
  const third = new Circuit()
  assert.equal(rendezvous.join(cookie(1), third), 'refused')
  assert.equal(third.flow, null)
  assert.equal(rendezvous.join(cookie(2), b), 'refused')
  a.give(1)
  b.give(2)
  assert.deepEqual([b.take(), a.take()], [1, 2], 'the two are as before')
  assert.equal(rendezvous.figures.meetings, 1)
})

test('a paced circuit has several exchanges; asked again it says the same; a number joined anew ends the older with it', () => {
  const { rendezvous, join } = start()
  const flows: (PayloadFlow | null)[] = []
  const paced = {
    exchanges: 16,
    attach: (flow: PayloadFlow, number = 0) => {
      flows[number]?.onGone()
      flows[number] = flow
      return true
    },
  }
  const [a, b] = [join(1), join(2)]
  assert.equal(rendezvous.join(cookie(1), paced, 0), 'ok')
  assert.equal(rendezvous.join(cookie(2), paced, 3), 'ok')
  assert.equal(rendezvous.join(cookie(2), paced, 3), 'ok', 'its answer was lost')
  assert.equal(rendezvous.join(cookie(2), paced, 4), 'refused', 'it cannot be its own other side')
  assert.equal(rendezvous.join(cookie(9), paced, 16), 'refused')
  assert.equal(rendezvous.join(cookie(9), join(8), 1), 'refused', 'a swift circuit has one')
  a.give(1)
  b.give(2)
  assert.deepEqual([flows[0]!.waiting, flows[3]!.waiting], [0, 0])
  for (const number of [0, 3]) flows[number]!.onPayload(new Uint8Array(PAYLOAD_BYTES), 0)
  assert.deepEqual([flows[0]!.waiting, flows[3]!.waiting], [1, 1])
  const c = join(3)
  assert.equal(rendezvous.join(cookie(3), paced, 0), 'ok')
  a.give(4)
  c.give(5)
  flows[0]!.onPayload(new Uint8Array(PAYLOAD_BYTES), 0)
  assert.deepEqual([flows[0]!.waiting, flows[3]!.waiting], [1, 1], 'what its old other side gives goes nowhere')
  rendezvous.close()
})

test('what came before the second joined waits for it, but not much; who stays alone for 30 s meets nobody', () => {
  const { clock, join, rendezvous, heldBytes } = start()
  const a = join(1)
  for (const number of range(0, 100)) a.give(number)
  assert.equal(rendezvous.figures.payloads, QUEUE_ALONE_PAYLOADS)
  const b = join(1)
  b.give(0)
  assert.deepEqual(b.takeAll(), range(100 - QUEUE_ALONE_PAYLOADS, 100))
  const alone = join(2)
  alone.give(1)
  clock.advanceNow(MEETING_WAIT_MS - 1)
  assert.equal(rendezvous.figures.alone, 1)
  clock.advanceNow(1)
  assert.deepEqual(rendezvous.figures, { meetings: 1, alone: 0, payloads: 1 })
  assert.equal(heldBytes(), MEETING_BYTES + PAYLOAD_BYTES)
  alone.give(2)
  assert.equal(rendezvous.figures.payloads, 1)
  // The cookie is free again: those that come now are two others.
  const late = join(2)
  late.give(3)
  assert.equal(alone.take(), null)
  assert.equal(rendezvous.figures.alone, 1)
})

test('of more than may wait the oldest go', () => {
  const { join } = start()
  const a = join(1)
  const b = join(1)
  b.give(0)
  for (const number of range(0, 1_000)) a.give(number)
  assert.equal(b.flow!.waiting, QUEUE_PAYLOADS)
  assert.deepEqual(b.takeAll(), range(1_000 - QUEUE_PAYLOADS, 1_000))
})

test('when a circuit ends the other takes what still waits, then hears nothing, and is told nothing', () => {
  const { join, rendezvous, heldBytes } = start()
  const a = join(1)
  const b = join(1)
  b.give(0)
  a.give(1)
  a.give(2)
  a.flow!.onGone()
  assert.deepEqual(rendezvous.figures, { meetings: 0, alone: 0, payloads: 2 })
  b.give(3)
  assert.deepEqual(b.takeAll(), [1, 2])
  b.give(4)
  assert.deepEqual([b.flow!.due, b.flow!.waiting, rendezvous.figures.payloads], [false, 0, 0])
  b.flow!.onGone()
  assert.equal(heldBytes(), 0)
  // One that waits and ends leaves nothing either.
  const alone = join(2)
  alone.give(1)
  alone.flow!.onGone()
  assert.deepEqual(rendezvous.figures, { meetings: 0, alone: 0, payloads: 0 })
  assert.equal(heldBytes(), 0)
})

test('pairs and memory are bounded: the newest is refused, those that are there go on', () => {
  const { rendezvous, join } = start({ pairs: 2, alone: 2 })
  const first = join(1)
  const second = join(1)
  join(2)
  join(2)
  assert.equal(rendezvous.join(cookie(5), new Circuit()), 'busy', 'too many pairs')
  first.give(1)
  second.give(2)
  assert.equal(second.take(), 1)
  const small = start({}, MEETING_BYTES + 100)
  small.join(1)
  assert.equal(small.rendezvous.join(cookie(2), new Circuit()), 'busy')
})

test('those that wait are bounded: who has waited longest goes, so that places which nobody fills keep nobody out', () => {
  const { rendezvous, join, clock } = start({ pairs: 8, alone: 2 })
  for (let taken = 10; taken < 60; taken++) {
    join(taken)
    clock.advanceNow(10)
  }
  assert.deepEqual([rendezvous.figures.alone, rendezvous.figures.meetings], [2, 2])
  const first = join(1)
  const second = join(1)
  first.give(1)
  second.give(2)
  assert.equal(second.take(), 1)
  // Those that wait also make room for pairs.
  const few = start({ pairs: 2, alone: 2 })
  few.join(1)
  few.join(2)
  few.join(3)
  few.join(3)
  assert.deepEqual([few.rendezvous.figures.alone, few.rendezvous.figures.meetings], [1, 2])
})

test('many that nobody takes from leave room for those that flow', () => {
  const payloads = 2_000
  const { join, rendezvous } = start({ payloads })
  for (let pair = 0; pair < 60; pair++) {
    const a = join(pair)
    join(pair)
    for (let number = 0; number < 500; number++) a.give(number)
  }
  assert.ok(rendezvous.figures.payloads < payloads + 60 * RESERVED_PAYLOADS)
  const a = join(200)
  const b = join(200)
  b.give(0)
  const heard: number[] = []
  for (let number = 0; number < 500; number++) {
    a.give(number)
    if (number % RESERVED_PAYLOADS === RESERVED_PAYLOADS - 1) heard.push(...b.takeAll())
  }
  assert.deepEqual(heard, range(0, 500))
})

test("without memory a direction's own oldest goes, and the new one if there is none", () => {
  const { join } = start({}, MEETING_BYTES + 3 * PAYLOAD_BYTES)
  const a = join(1)
  const b = join(1)
  b.give(9)
  for (const number of range(0, 5)) a.give(number)
  assert.deepEqual(b.takeAll(), [3, 4])
  assert.deepEqual(a.takeAll(), [9])
})

test('everything is charged to the apex and given back', () => {
  const clock = new FakeClock()
  const apex: Apex = new Apex({ services: { store: async () => ({ status: 'ok', body: cookie(0) }) }, clock })
  const rendezvous = new Rendezvous({ clock, memory: { hold: (b) => apex.hold(b), release: (b) => apex.release(b) } })
  const circuits = Array.from({ length: 40 }, () => new Circuit())
  for (const [at, circuit] of circuits.entries()) rendezvous.join(cookie(at >> 1), circuit)
  for (let round = 0; round < 300; round++) for (const circuit of circuits) circuit.give(round)
  assert.ok(apex.heldBytes >= 40 * QUEUE_PAYLOADS * PAYLOAD_BYTES)
  for (const circuit of circuits) circuit.flow!.onGone()
  assert.equal(apex.heldBytes, 0)
})

// This node's own end ---------------------------------------------------------------------------------------------------------------

test('a node that is itself the rendezvous point joins like any other: payloads move in later turns, content both ways', async () => {
  const { clock, rendezvous, join } = start()
  const end = new Talker()
  end.port = rendezvous.joinLocally(cookie(1), end)
  assert.equal(end.port.loop, 0)
  const circuit = join(1)
  assert.throws(() => rendezvous.joinLocally(cookie(1), new Talker()), { code: 'RENDEZVOUS_REFUSED' })
  await clock.settle()
  assert.equal(end.given, 1, 'the first payload, as of a loop')
  end.say(3)
  assert.equal(end.given, 1, 'not in this turn')
  circuit.give(7)
  assert.equal(end.came, 0)
  clock.runTurns()
  assert.equal(end.given, 4)
  assert.equal(circuit.takeAll().length, 4)
  await clock.settle()
  assert.equal(end.given, 4)
  await clock.advance(1_000)
  assert.equal(end.given, 4 + 1_000 / PAYLOAD_BEAT_MS)
  end.port.close()
  assert.equal(end.gone, 0)
  assert.equal(rendezvous.figures.meetings, 0)
  assert.equal(clock.pendingTimers, 0)
})

test('this node gives no more than waits without loss, goes on when some is taken, and stops when the other side has left', async () => {
  const { clock, rendezvous, join } = start()
  const end = new Talker()
  end.port = rendezvous.joinLocally(cookie(1), end)
  end.say(2_000)
  await clock.settle()
  assert.ok(end.said <= QUEUE_ALONE_PAYLOADS)
  const circuit = join(1)
  circuit.give(0)
  const heard: number[] = []
  for (let round = 0; round < 200; round++) {
    for (let taken = 0; taken < 20; taken++) {
      const number = circuit.take()
      if (number !== null && number !== 0) heard.push(number)
    }
    await clock.settle()
  }
  assert.deepEqual(heard, range(1, 2_001))
  circuit.flow!.onGone()
  const { given } = end
  end.say(1_000)
  await clock.advance(5_000)
  assert.ok(end.given <= given + 5_000 / PAYLOAD_BEAT_MS, 'one with each beat, as a loop would go on')
  assert.equal(end.gone, 0, 'it is told nothing')
  rendezvous.close()
  assert.equal(end.gone, 1)
  assert.equal(clock.pendingTimers, 0)
})

test('both ends may be on this node', async () => {
  const { clock, rendezvous } = start()
  const first = new Talker()
  const second = new Talker()
  first.port = rendezvous.joinLocally(cookie(1), first)
  second.port = rendezvous.joinLocally(cookie(1), second)
  first.say(700)
  second.say(20)
  await clock.settle()
  assert.deepEqual([first.heard.length, second.heard.length], [20, 700])
  assert.equal(first.given, second.given)
  rendezvous.close()
  assert.deepEqual([first.gone, second.gone], [1, 1])
  assert.equal(clock.pendingTimers, 0)
})
