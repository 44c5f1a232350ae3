/**
 * The origin's end of a paced loop (SPEC §4.5) by itself: a line that is a list, three hops that are a layer and streams each, and a test that
 * decides when slots pass. What it fills slots with, what it does when it was late, and how it counts noise.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NoiseAccount, RUN_MAX_MS, RUNS_PER_MINUTE, SINGLES_AMONG_CELLS, SINGLES_MAX } from '../../client/loops/noise.ts'
import { PacedLoop } from '../../client/loops/paced-loop.ts'
import { startSpreadMs } from '../../client/loops/set-up-time.ts'
import type { MonotonicMs, NodeId, UnixMs } from '../../src/bytes/index.ts'
import { BODY_BYTES, CELL_BYTES, CELL_HEADER_BYTES, type CircuitId } from '../../src/cell/index.ts'
import { HopLayer, isRecognised, OriginLayers } from '../../src/circuit/index.ts'
import { epochAfter, pacedPlan } from '../../src/circuit/setup/index.ts'
import { openCellCipher } from '../../src/crypto/index.ts'
import {
  type ExchangeEnd,
  MessageReader,
  type MuxStream,
  type PayloadFlow,
  type StreamEvents,
  StreamMux,
  sendMessage,
} from '../../src/stream/index.ts'
import { encodeHopReply } from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'

const cipher = await openCellCipher()
const never = new AbortController()
const FRAMES_AT = CELL_HEADER_BYTES + 16
const WANTED = 8
/** Slots from the line to the origin. */
const WAY = 10

/** A hop that gives each request back, or holds it until `release`. */
class RigHop {
  readonly layer: HopLayer
  readonly mux: StreamMux
  addressed: number[] = []
  hold = false
  /** Instead of the request itself. */
  reply: Uint8Array | null = null
  readonly #held: (() => void)[] = []

  constructor(layer: HopLayer) {
    this.layer = layer
    this.mux = new StreamMux({ role: 'hop', wake: () => {}, lossy: { rate: 128 }, onOpen: (stream) => this.#serve(stream) })
  }

  #serve(stream: MuxStream): StreamEvents {
    const reader = new MessageReader({
      onMessage: (message) => {
        const answer = () => sendMessage(stream, this.reply ?? message)
        if (this.hold) this.#held.push(answer)
        else answer()
      },
      onFail: () => {},
    })
    reader.stream = stream
    return reader
  }

  release(): void {
    this.hold = false
    for (const answer of this.#held.splice(0)) answer()
  }

  pass(cell: Uint8Array, counter: number): void {
    const one = [Int32Array.of(0), Uint32Array.of(counter)] as const
    this.layer.peel(cell, ...one, 1)
    if (!isRecognised(cell, CELL_HEADER_BYTES)) return
    this.addressed.push(counter)
    assert.ok(this.mux.receive(cell, FRAMES_AT, CELL_BYTES, counter))
    this.mux.fill(cell, FRAMES_AT, CELL_BYTES, counter)
    this.layer.seal(cell, ...one, 1)
  }
}

/** A loop whose slots pass when the test says so. */
function rig(rate = 2) {
  const clock = new FakeClock()
  const rng = seededRng('rig')
  const secrets = Array.from({ length: 3 }, () => ({ cellKey: rng.bytes(32), answerKey: rng.bytes(32) }))
  const hops = secrets.map((secret) => new RigHop(new HopLayer(cipher, secret)))
  const liveEpoch = epochAfter(clock.unixMs(), 2_000)
  const ends: string[] = []
  const loop = new PacedLoop({
    hops: ['aa', 'bb', 'cc'] as NodeId[],
    apexIndex: 1,
    layers: new OriginLayers(cipher, secrets, rng.bytes(32)),
    plan: pacedPlan(clock.unixMs() as UnixMs, { clock: 'steady', rate, liveEpoch, closeEpoch: liveEpoch + 100 }),
    start: 0.5,
    clock,
    onEnd: (_loop, reason) => ends.push(reason),
  })
  const spreadMs = startSpreadMs(loop.hops.length, loop.plan.holdMs, loop.rate)
  const pushed: Uint8Array[] = []
  const flying: (Uint8Array | null)[] = []
  const supply = {
    sentCells: 0,
    /** Slots that have passed without a cell. */
    behind: 0,
    get dueCells() {
      return this.sentCells + this.behind
    },
    wantedCells: WANTED,
    over: false,
  }
  const lane = {
    id: 2 as CircuitId,
    queuedCells: 0,
    push: (_command: number, body: Uint8Array) => pushed.push(body.slice()) > 0,
    close: () => {},
  }
  loop.attach({ id: lane.id, lane, supply, flush: () => {}, close: () => {} })
  /** One slot passes; `noise`: its cell is replaced on the way. */
  const slot = (noise = false) => {
    const counter = supply.sentCells++
    const cell = new Uint8Array(CELL_BYTES)
    const body = pushed[counter]
    if (body === undefined || noise) cell.set(rng.bytes(BODY_BYTES), CELL_HEADER_BYTES)
    else cell.set(body, CELL_HEADER_BYTES)
    if (!noise) for (const hop of hops) hop.pass(cell, counter)
    flying.push(cell)
    if (flying.length <= WAY) return
    loop.onHome(flying.shift()!, Int32Array.of(0), 1)
    loop.onTurnEnd()
  }
  /** `count` slots pass; the first `late` of them without a turn of the loop's. */
  const slots = async (count: number, noise: (at: number) => boolean = () => false, late = 0) => {
    for (let at = 0; at < count; at++) {
      await clock.advance(8)
      slot(noise(at))
      if (at >= late) loop.onDue()
      await clock.settle()
    }
  }
  const start = async () => {
    await clock.advance(loop.liveAt + spreadMs - clock.monotonicMs())
    loop.onDue()
  }
  return { clock, loop, hops, pushed, supply, ends, slots, start, spreadMs }
}

test('the line is kept supplied with a hold of cells, no more; before its start there is none', async () => {
  const { clock, loop, pushed, supply, slots, spreadMs } = rig()
  loop.onDue()
  assert.equal(pushed.length, 0)
  await clock.advance(loop.liveAt + spreadMs / 2 - loop.plan.holdMs - 1 - clock.monotonicMs())
  loop.onDue()
  assert.equal(pushed.length, 0)
  await clock.advance(1)
  loop.onDue()
  assert.equal(pushed.length, WANTED)
  for (let at = 0; at < 20; at++) {
    loop.onDue()
    assert.equal(pushed.length, supply.sentCells + WANTED)
    await slots(1)
  }
})

test('with nothing to say all slots are filler: no hop is addressed; a waiting request has them all', async () => {
  const { loop, hops, slots, start } = rig()
  await start()
  await slots(40)
  assert.ok(hops.every(({ addressed }) => addressed.length === 0))
  hops[1]!.hold = true
  const asked = loop.ask(Uint8Array.of(7), never)
  await slots(60)
  const before = hops[1]!.addressed.length
  await slots(60)
  assert.equal(hops[1]!.addressed.length - before, 60)
  assert.equal(hops[0]!.addressed.length + hops[2]!.addressed.length, 0)
  hops[1]!.release()
  await slots(30)
  assert.deepEqual(await asked, Uint8Array.of(7))
  assert.equal(loop.noiseCells, 0)
})

test('hops that have or want something take turns; what one has waiting is pulled with as many cells as it needs', async () => {
  const { loop, hops, slots, start } = rig()
  await start()
  const big = new Uint8Array(60_000).fill(3)
  const asked = (['aa', 'cc'] as NodeId[]).map((node) => loop.askAt(node, big, never))
  await slots(50)
  const [a, , c] = hops.map(({ addressed }) => addressed.length)
  assert.ok(Math.abs(a! - c!) <= 2 && a! + c! >= 50 - WANTED, `${a} and ${c}`)
  await slots(120)
  for (const answer of await Promise.all(asked)) assert.deepEqual(answer, big)
})

test('slots that passed while this node stood still are nobody’s: no noise, nothing lost but the time', async () => {
  const { loop, hops, slots, start, supply, pushed, ends } = rig()
  await start()
  hops[1]!.hold = true
  const asked = loop.ask(new Uint8Array(3_000).fill(5), never)
  await slots(20)
  // Twenty slots go by without a turn of the loop's: the line sends what it has, then random bytes.
  for (let burst = 0; burst < 3; burst++) {
    await slots(20, () => false, 20)
    await slots(20)
    assert.equal(pushed.length, supply.sentCells + WANTED)
  }
  hops[1]!.release()
  await slots(40)
  assert.equal((await asked).length, 3_000)
  assert.equal(loop.noiseCells, 0)
  assert.deepEqual(ends, [])
})

test('the loop stalls when nothing comes home; requests fail, cells go on', async () => {
  const { clock, loop, pushed, ends, slots, start } = rig()
  await start()
  await slots(40)
  const asked = assert.rejects(loop.ask(Uint8Array.of(1), never), { code: 'CIRCUIT_ENDED' })
  await clock.advance(5_000)
  loop.onDue()
  await asked
  assert.deepEqual(ends, ['stalled'])
  const before = pushed.length
  await slots(10)
  assert.equal(pushed.length, before + 10)
})

test('a cell more than was sent, and frames that no hop sends, end its use', async () => {
  const { loop, ends, start } = rig()
  await start()
  loop.onHome(new Uint8Array(CELL_BYTES), Int32Array.of(0), 1)
  assert.deepEqual(ends, ['protocol'])
  const other = rig()
  await other.start()
  const asked = assert.rejects(other.loop.ask(Uint8Array.of(1), never), { code: 'CIRCUIT_ENDED' })
  other.hops[1]!.mux.fill = (into, at) => void into.set([99], at)
  await other.slots(30)
  await asked
  assert.deepEqual(other.ends, ['protocol'])
})

test('cells that this node itself sent too late are no noise of the members: the loop stays in use', async () => {
  const { loop, slots, start, ends } = rig()
  await start()
  await slots(20)
  for (let burst = 0; burst < 5; burst++) {
    // Two slots more than a hold pass at once, after this node stood still: the first two cells come too late for the first member.
    await slots(WANTED + 2, (at) => at < 2, WANTED + 1)
    await slots(30)
  }
  assert.equal(loop.noiseCells, 5 * 2)
  assert.deepEqual(ends, [])
  for (let run = 0; run < 3; run++) await slots(30, (at) => at < WANTED)
  await slots(WAY)
  assert.deepEqual(ends, ['noise'])
})

test('while this node stands still the members go on: what they send is noise and no breach', async () => {
  const { clock, loop, hops, slots, start, supply, pushed, ends } = rig()
  await start()
  await slots(20)
  const asked = assert.rejects(loop.ask(new Uint8Array(9_000), never), { code: 'CELL_LOST' })
  await slots(2)
  // Forty slots pass and nothing is sent; the members send random bytes for the cells that they miss, and those come home.
  const home = () => loop.onHome(seededRng(1).bytes(CELL_BYTES), Int32Array.of(0), 1)
  for (; supply.behind < 40; supply.behind++) {
    await clock.advance(8)
    if (supply.behind > 0) home()
  }
  await asked
  assert.deepEqual(ends, [])
  // The link takes some of them, and then the rest: what has come home is not made any more as if it could.
  const before = hops[1]!.addressed.length
  const sent = supply.sentCells
  while (supply.sentCells < sent + 40) {
    await clock.advance(8)
    supply.behind--
    supply.sentCells++
    loop.onDue()
    assert.equal(pushed.length, supply.sentCells + WANTED)
  }
  assert.equal(hops[1]!.addressed.length, before)
  assert.ok(loop.noiseCells >= WANTED && loop.noiseCells <= WANTED + WAY)
  for (let left = loop.figures.inFlight - WANTED; left > 0; left--) home()
  assert.deepEqual(ends, [])
  home()
  assert.deepEqual(ends, ['protocol'])
})

test('noise that hits a request costs that request, CELL_LOST; asked again it comes', async () => {
  const { loop, slots, start } = rig()
  await start()
  const asked = assert.rejects(loop.ask(new Uint8Array(4_000), never), { code: 'CELL_LOST' })
  const other = loop.askAt('aa' as NodeId, Uint8Array.of(4), never)
  // Behind the cells that lie in the line: one to the first hop, one to the apex, which is hit.
  await slots(60, (at) => at === WANTED + 1)
  await asked
  assert.deepEqual(await other, Uint8Array.of(4))
  const again = loop.ask(new Uint8Array(4_000).fill(1), never)
  await slots(60)
  assert.equal((await again).length, 4_000)
})

test('an exchange asks with every second free cell, however many other hops owe answers', async () => {
  const { loop, hops, slots, start } = rig()
  await start()
  hops[1]!.reply = encodeHopReply({ status: 'ok', body: new Uint8Array(0) })
  const flow: PayloadFlow = { due: false, waiting: 0, take: () => {}, onPayload: () => {}, onGone: () => {} }
  assert.ok(hops[1]!.mux.attach(flow))
  const end: ExchangeEnd = { fill: () => {}, onPayload: () => {}, wants: false, onGone: () => {} }
  const joined = loop.join(new Uint8Array(32), end, never)
  await slots(40)
  await joined
  for (const at of [0, 2]) hops[at]!.hold = true
  const asked = (['aa', 'cc'] as NodeId[]).map((node) => loop.askAt(node, Uint8Array.of(1), never))
  await slots(40)
  const before = hops.map(({ addressed }) => addressed.length)
  await slots(80)
  const [aa, bb, cc] = hops.map(({ addressed }, at) => addressed.length - before[at]!)
  assert.ok(bb! >= 35 && aa! >= 15 && cc! >= 15, `${aa}, ${bb}, ${cc}`)
  for (const hop of hops) hop.release()
  await slots(40)
  await Promise.all(asked)
})

test('what cannot wait is asked for, and answered, before what is long', async () => {
  const { loop, slots, start } = rig()
  await start()
  const long = loop.ask(new Uint8Array(60_000), never)
  await slots(20)
  let answered = false
  const short = loop.askAtOnce('aa' as NodeId, Uint8Array.of(1), never).then(() => {
    answered = true
  })
  // Behind what lies in the line: a cell with the question, and one for the answer when that is home or was on its way before.
  await slots(WANTED + 2 * WAY + 4)
  assert.ok(answered)
  for (let left = 100; left > 0 && loop.asking > 0; left--) await slots(20)
  assert.equal(loop.asking, 0)
  assert.equal((await long).length, 60_000)
  await short
})

test('a closed loop tells its hops, and goes on with filler', async () => {
  const { loop, hops, pushed, slots, start } = rig()
  await start()
  hops[1]!.hold = true
  const asked = assert.rejects(loop.ask(new Uint8Array(9_000), never), { code: 'CIRCUIT_ENDED' })
  await slots(30)
  assert.equal(hops[1]!.mux.openStreams, 1)
  loop.close()
  await asked
  await slots(20)
  assert.equal(hops[1]!.mux.openStreams, 0)
  const told = hops[1]!.addressed.length
  const before = pushed.length
  await slots(20)
  assert.equal(hops[1]!.addressed.length, told)
  assert.equal(pushed.length, before + 20)
  loop.onOver()
  loop.onOver()
})

test(`noise: ${RUNS_PER_MINUTE} runs a minute and ${SINGLES_MAX} single cells among ${SINGLES_AMONG_CELLS} are accidents; more, or a long run, is not`, () => {
  /** Whether the loop stays, for cells 8 ms apart of which those in `noise` are noise. */
  const stays = (cells: number, noise: ReadonlySet<number>) => {
    const account = new NoiseAccount()
    for (let counter = 0; counter < cells; counter++) {
      if (!account.onCell(noise.has(counter), counter, (counter * 8) as MonotonicMs)) return false
    }
    return true
  }
  assert.equal(stays(3_000, new Set([100, 500])), true)
  assert.equal(stays(3_000, new Set([100, 500, 900])), false)
  assert.equal(stays(3_000, new Set([100, 500, 1_200])), true, 'the first no longer counts')
  const run = (from: number, length: number) => Array.from({ length }, (_, at) => from + at)
  assert.equal(stays(9_000, new Set([...run(100, 20), ...run(900, 2)])), true)
  assert.equal(stays(9_000, new Set([...run(100, 20), ...run(900, 2), ...run(1_500, 9)])), false)
  assert.equal(stays(9_000, new Set([...run(100, 20), ...run(900, 2), ...run(7_800, 9)])), true, 'a minute later')
  assert.equal(stays(9_000, new Set(run(100, RUN_MAX_MS / 8))), true)
  assert.equal(stays(9_000, new Set(run(100, RUN_MAX_MS / 8 + 2))), false)
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(20_000), { maxLength: 40 }), (noise) => {
      const account = new NoiseAccount()
      const list = new Set(noise)
      for (let counter = 0; counter <= 20_001; counter++) account.onCell(list.has(counter), counter, (counter * 8) as MonotonicMs)
      assert.equal(account.cells, list.size)
    }),
    { numRuns: 20 },
  )
})
