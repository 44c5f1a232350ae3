/**
 * How fast a node serves others while a neighbour floods it: one real relay on real links that are always full, one with an honest circuit's
 * cells and one with each flood, and the honest cells that it passes on in a second of its own processor time, with the flood and without. Promise (DESIGN §9, issue 5): at least half.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { ControlLink } from '../../client/neighbours/control-link.ts'
import { SETUPS_BURST } from '../../relay/admission.ts'
import { openRecordHolder, recordService } from '../../relay/record/index.ts'
import { openStore, storeService } from '../../relay/store/index.ts'
import { concat, le32, type MonotonicMs } from '../../src/bytes/index.ts'
import { BODY_BYTES, CELL_BYTES, type CircuitId, Command, circuitIdAt, writeHeader } from '../../src/cell/index.ts'
import { signingKey } from '../../src/crypto/index.ts'
import { toControlBodies } from '../../src/directory/control.ts'
import { Directory, Gossip } from '../../src/directory/index.ts'
import type { Link } from '../../src/link/index.ts'
import { type Clock, systemClock, systemRng } from '../../src/runtime/index.ts'
import { writeReset, writeStreamHeader } from '../../src/stream/frames.ts'
import {
  type ControlMessage,
  encodeControl,
  encodeHopRequest,
  encodeStoreRequest,
  type HopRequest,
} from '../../src/wire/index.ts'
import { TEST_RULES, testDescriptor, testNode } from '../support/directory.ts'
import { type LoneCircuit, type LoneLink, LoneRelay } from '../support/lone-relay.ts'

/**
 * Half is what equal turns leave, less what the measure itself is off by: thread time comes in steps of 4 ms on some machines, and one flood measured
 * again on a quiet two-core machine gave 0.40 to 0.54. Figures are in SECURITY.md; this test is there to find a flood that leaves a tenth.
 */
const PROMISED = 0.5
const OFF = 0.15

const SLICE_MS = 60
const SLICES = 3
const FRAMES_BYTES = BODY_BYTES - 16
const LOOPS = 10_000

/** Time that this thread has worked, so that what else the machine does is in no figure. */
function workedMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

/** The relay's clock goes by the same time. */
const clock: Clock = { ...systemClock, monotonicMs: () => workedMs() as MonotonicMs }

let relay: LoneRelay
let bad: LoneLink
let out: LoneLink
let honest: { readonly from: LoneLink; readonly circuit: LoneCircuit; readonly turn: Uint8Array }
let passed = 0
let close = async () => {}
/** The relay's gossip, on the links that flood. */
const gossip = new Map<Link, ControlLink>()

const turns = () => new Promise<void>((resolve) => setTimeout(resolve, 5))

before(async () => {
  const directory = new Directory({ rules: TEST_RULES, clock, self: testNode(0).id })
  for (let node = 1; node <= 200; node++) directory.add(testDescriptor(testNode(node), { publishedMs: clock.unixMs() }))
  const machine = new Gossip<Link>(directory, systemRng)
  const control = {
    onControlCell(link: Link, body: Uint8Array) {
      let reader = gossip.get(link)
      if (reader === undefined) {
        reader = new ControlLink(link)
        gossip.set(link, reader)
        machine.linkUp(link, true, clock.monotonicMs())
      }
      const message = reader.take(body)
      if (message === null) return
      const effects =
        message === 'malformed'
          ? [{ close: link, reason: 'protocol' } as const]
          : machine.onMessage(link, message, clock.monotonicMs())
      for (const effect of effects) {
        if ('close' in effect) effect.close.close(effect.reason)
        else reader.send(effect.send)
      }
    },
    onLinkClosed: () => {},
  }
  const dir = mkdtempSync(join(tmpdir(), 'gyre-flood-'))
  const log = { warn: () => {} }
  const store = await openStore({ dir: join(dir, 'store'), quotaBytes: 2 ** 30, clock: systemClock, log })
  const records = await openRecordHolder({ dir: join(dir, 'records'), clock: systemClock, log })
  close = async () => {
    await store.close()
    await records.close()
    rmSync(dir, { recursive: true, force: true })
  }
  const services = { store: storeService(store, { clock }), record: recordService(records) }
  relay = await LoneRelay.start({ clock, rng: systemRng, links: 4, control, services })
  const from = relay.links[0]!
  bad = relay.links[1]!
  out = relay.links[2]!
  const circuit = await relay.circuit(from, out, turns)
  honest = { from, circuit, turn: circuit.passing(32, systemRng) }
  out.wire.onWrite = (bytes) => {
    for (let at = 0; at < bytes.length; at += CELL_BYTES) if (circuitIdAt(bytes, at) === circuit.outId) passed++
  }
})

after(async () => {
  relay.close()
  await close()
})

/** The next cells of a flood; `null`: it has no more. */
type Flood = () => Uint8Array | null

/** Honest cells passed on in a millisecond of work, while `flood` fills its link. */
async function speed(flood: Flood | null, sliceMs: number): Promise<number> {
  passed = 0
  const from = workedMs()
  while (workedMs() - from < sliceMs) {
    while (honest.from.link.queuedCells < 64) honest.from.link.onBytes(honest.turn)
    while (flood !== null && bad.link.open && bad.link.queuedCells < 64) {
      const cells = flood()
      if (cells === null) break
      bad.link.onBytes(cells)
    }
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  return passed / (workedMs() - from)
}

const median = (list: number[]) => list.sort((a, b) => a - b)[list.length >> 1]!

/**
 * The honest circuit's speed with `flood` as a part of that without. Some machines tell this thread's time in steps of milliseconds: what seems
 * too little is measured again for longer.
 */
async function part(flood: Flood): Promise<number> {
  let found = 0
  for (let sliceMs = SLICE_MS; sliceMs <= 16 * SLICE_MS && found < PROMISED - OFF; sliceMs *= 2)
    found = await partOver(flood, sliceMs)
  return found
}

async function partOver(flood: Flood, sliceMs: number): Promise<number> {
  const alone: number[] = []
  const beside: number[] = []
  for (let slice = 0; slice < SLICES; slice++) {
    alone.push(await speed(null, sliceMs))
    beside.push(await speed(flood, sliceMs))
    await turns() // what the flood has left in the queues is not in the next slice
  }
  return median(beside) / median(alone)
}

/** A test that `flood` leaves at least half to others. */
function floodTest(name: string, make: () => Flood | Promise<Flood>): void {
  test(`served beside ${name}: at least half as fast as without`, { timeout: 60_000 }, async (t) => {
    const flood = await make()
    const best = await part(flood)
    t.diagnostic(`${name}: ${best.toFixed(2)}`)
    assert.ok(best >= PROMISED - OFF, `${best.toFixed(2)} of the speed without`)
  })
}

const again =
  (cells: Uint8Array): Flood =>
  () =>
    cells

function cellsOf(count: number, make: (at: number) => { id: number; command: Command }): Uint8Array {
  const cells = systemRng.bytes(count * CELL_BYTES)
  for (let at = 0; at < count; at++) {
    const { id, command } = make(at)
    writeHeader(cells, at * CELL_BYTES, id as CircuitId, command)
  }
  return cells
}

/** Cells that are addressed to the relay, each with `frames`, made ahead: what the flooder works is not the relay's time. */
async function addressed(cells: number, frames: (into: Uint8Array) => void): Promise<Flood> {
  const circuit = await relay.circuit(bad, out, turns)
  const list = Array.from({ length: cells }, () => {
    const into = new Uint8Array(FRAMES_BYTES)
    frames(into)
    return circuit.cell(into)
  })
  let at = 0
  return () => list[at++] ?? null
}

/** As many whole requests as a cell holds, each on a stream of its own. */
function requests(request: HopRequest): (into: Uint8Array) => void {
  const bytes = encodeHopRequest(request)
  const message = concat(le32(bytes.length), bytes)
  let stream = 1
  return (into) => {
    for (let at = 0; at + 13 + message.length <= into.length; stream += 2) {
      const from = writeStreamHeader(into, at, stream, 0, message.length, true)
      into.set(message, from)
      at = from + message.length
    }
  }
}

function controlCells(message: ControlMessage): Uint8Array {
  const bodies = toControlBodies(encodeControl(message))
  const cells = cellsOf(bodies.length, () => ({ id: 0, command: Command.CONTROL }))
  for (const [at, body] of bodies.entries()) cells.set(body, at * CELL_BYTES + 5)
  return cells
}

floodTest('cells of circuits that are unknown', () =>
  again(cellsOf(32, () => ({ id: relay.idFrom(bad), command: Command.CIRCUIT }))),
)
floodTest('DESTROY for everything', () => again(cellsOf(32, (at) => ({ id: 2 * at + 4, command: Command.DESTROY }))))
floodTest('another user at full speed', async () => again((await relay.circuit(bad, out, turns)).passing(32, systemRng)))

floodTest('set-ups that are noise', () => {
  const packets = Array.from({ length: 1_000 }, () => relay.noiseSetUp(relay.idFrom(bad)))
  let at = 0
  return () => packets[at++ % packets.length]!
})

floodTest('set-ups that are right', () => {
  const packets = Array.from({ length: 1_000 }, () => relay.cheapSetUp(relay.idFrom(bad), out))
  let at = 0
  return () => packets[at++ % packets.length]!
})

floodTest('small requests by the dozen in each cell', () =>
  addressed(4_000, requests({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 0 })),
)
floodTest('requests for large answers that are not taken', () =>
  addressed(4_000, requests({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 65_536 })),
)
floodTest('streams that are opened and carry nothing', () => {
  let stream = 1
  return addressed(4_000, (into) => {
    for (let at = 0; at + 13 <= into.length; stream += 2) at = writeStreamHeader(into, at, stream, 0, 0, false)
  })
})
floodTest('slot values whose signatures are wrong', () => {
  const slot = {
    publicKey: signingKey(systemRng.bytes(32)).publicKey,
    slot: 0,
    value: new Uint8Array(1),
    signature: new Uint8Array(64),
  }
  const put = { kind: 'put-slot', ...slot, keepHours: 0, work: new Uint8Array(0) } as const
  return addressed(4_000, requests({ kind: 'store', request: encodeStoreRequest(put) }))
})
floodTest('checks and gets of what is not there', () =>
  addressed(4_000, requests({ kind: 'store', request: encodeStoreRequest({ kind: 'get-share', address: systemRng.bytes(32) }) })),
)
floodTest('resets of what never was', () => {
  let stream = 1
  return addressed(4_000, (into) => {
    for (let at = 0; at + 6 <= into.length; stream += 2) at = writeReset(into, at, stream, 0)
  })
})

for (const [name, message] of [
  ['digests', { kind: 'digest', buckets: systemRng.bytes(2048) }],
  [
    'listings of invented nodes',
    { kind: 'listing', buckets: Uint8Array.from({ length: 256 }, (_, at) => at), hashes: systemRng.bytes(32 * 1024) },
  ],
] as const) {
  floodTest(`gossip without end: ${name}`, () => {
    // It costs its sender the link. Who comes back is let in three times, and then once a minute.
    let links = 0
    bad = relay.addLink()
    const cells = controlCells(message)
    return () => {
      if (!bad.link.open && links++ < 3) bad = relay.addLink()
      return cells
    }
  })
}

test(`${LOOPS} loops through one relay: each costs little, none is lost, and another user has at least half of its speed`, {
  timeout: 300_000,
}, async (t) => {
  const links = Array.from({ length: LOOPS / SETUPS_BURST }, () => relay.addLink())
  const ids = links.map((): CircuitId[] => [])
  const relayed = relay.relay.relayed
  const before = heldBytes()
  for (let count = 0; count < SETUPS_BURST; count++) {
    for (const [at, from] of links.entries()) {
      const id = relay.idFrom(from)
      ids[at]!.push(id)
      // Over one link there is room for half of its table from any one other.
      from.link.onBytes(relay.cheapSetUp(id, at % 2 === 0 ? out : relay.links[3]!))
    }
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  while (links.some(({ link }) => link.queuedCells > 0)) await turns()
  assert.equal(relay.relay.relayed - relayed, LOOPS)
  const each = (heldBytes() - before) / LOOPS
  bad = links[0]!
  const circuits = ids[0]!
  const flood = Array.from({ length: 64 }, () =>
    cellsOf(32, () => ({ id: circuits[systemRng.below(circuits.length)]!, command: Command.CIRCUIT })),
  )
  let at = 0
  const best = await part(() => flood[at++ % flood.length]!)
  t.diagnostic(`${(each / 1024).toFixed(1)} KiB a loop; ${best.toFixed(2)} of the speed`)
  assert.equal(relay.relay.relayed - relayed, LOOPS)
  assert.ok(each < 16 * 1024, `${each} bytes a loop`)
  assert.ok(best >= PROMISED - OFF, `${best.toFixed(2)} of the speed without`)
})

/** What lives on this process's heaps. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
