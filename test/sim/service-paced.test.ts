/**
 * Live services under paced clocks (SPEC §4.6, §11.7), over real members on memory links and a fake clock: they carry what they should, on loops that
 * configuration alone decides; what strangers do changes nothing in the set of loops, nor on any wire; what does not fit is refused.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { after, before, test } from 'node:test'
import { EPOCH_MS } from '../../src/circuit/setup/index.ts'
import { requireAddress } from '../../src/content/address.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { type StandingNet, startStandingNet } from '../support/standing-net.ts'

const { signal } = new AbortController()
const STEP_MS = 10
let echo: Server
let port = 0
const sockets = new Set<Socket>()

before(async () => {
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).pipe(socket)
  })
  echo.listen(0, '127.0.0.1')
  await once(echo, 'listening')
  port = (echo.address() as AddressInfo).port
})
after(() => {
  echo.close()
  for (const socket of sockets) socket.destroy()
})

/** Moves the clock on, and gives real sockets time. */
async function pass({ sim }: StandingNet, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += STEP_MS) {
    await sim.clock.advance(STEP_MS)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

async function run<T>(net: StandingNet, promise: Promise<T>, withinMs = 60_000): Promise<T> {
  let settled = false
  const mark = () => {
    settled = true
  }
  promise.then(mark, mark)
  for (let ms = 0; ms < withinMs && !settled; ms += STEP_MS) await pass(net, STEP_MS)
  assert.ok(settled, `still pending after ${withinMs} ms`)
  return promise
}

/** A service of node 0, up. */
interface Hosting {
  readonly clock?: 'steady' | 'swift'
  readonly size?: number
  readonly count?: number
  readonly holdMs?: number
  readonly leadEpochs?: number
  readonly loops?: number
  readonly rate?: number
}

async function hosted(seed: string, options: Hosting = {}) {
  const { loops, rate, ...of } = options
  const net = await startStandingNet(seed, of)
  const wish = { ...(loops === undefined ? {} : { loops }), ...(rate === undefined ? {} : { rate }) }
  const adding = net.services.add({ name: 'web', target: { host: 'localhost', port }, ...wish })
  const { key } = requireAddress((await run(net, adding)).address)
  const upMs = 60_000 + 2 * (options.leadEpochs ?? 0) * EPOCH_MS
  for (let ms = 0; ms < upMs && net.services.get('web')?.state !== 'up'; ms += 100) await pass(net, 100)
  assert.equal(net.services.get('web')?.state, 'up', JSON.stringify(net.services.get('web')))
  return { net, key }
}

async function roundTrip(net: StandingNet, duplex: Duplex, bytes: Buffer, withinMs = 60_000): Promise<void> {
  const parts: Buffer[] = []
  duplex.on('data', (part: Buffer) => parts.push(part))
  duplex.end(bytes)
  await run(net, once(duplex, 'end'), withinMs)
  assert.deepEqual(Buffer.concat(parts), bytes)
}

for (const [where, size] of [
  ['a small network', 8],
  ['a larger one', 40],
] as const) {
  test(`in ${where} a service is reached over its standing loops, content whole both ways`, async () => {
    const { net, key } = await hosted(`reached ${size}`, { size })
    const began = net.sim.clock.monotonicMs()
    const { connector, pool } = net.connector(7)
    await net.sim.clock.runUntil(() => pool.ready === 2, 60_000)
    const duplex = await run(net, connector.connect(key, 80, { signal }))
    await roundTrip(net, duplex, Buffer.from('hello'))
    const content = Buffer.from(seededRng('content').bytes(150_000))
    const second = await run(net, connector.connect(key, 80, { signal }))
    const at = net.sim.clock.monotonicMs()
    await roundTrip(net, second, content)
    const took = net.sim.clock.monotonicMs() - at
    assert.ok(took < 8_000, `${took} ms for 150 kB there and back`)
    const { carried, sessions } = net.services.get('web')!
    assert.equal(sessions, 1)
    assert.deepEqual([carried?.loops, carried?.rate, carried?.running], [2, 128, 2])
    assert.ok(net.sim.clock.monotonicMs() - began < 120_000)
    if (size > 20) {
      // Only the node that a loop was drawn for hears of the service: its neighbours on the loop do not.
      const faces = new Set(net.asked.map(({ middle }) => middle))
      for (const node of net.sim.mesh.nodes) {
        const { meetings } = node.rendezvous.figures
        const { points } = node.introductions.figures
        assert.ok(faces.has(node.id) || node === net.sim.mesh.nodes[0] || (meetings === 0 && points === 0))
      }
    }
    await net.close()
  })
}

test('a swift user reaches it as well', async () => {
  const { net, key } = await hosted('swift user', { count: 6 })
  const connector = net.swiftConnector(5)
  await pass(net, 1_000)
  const began = net.sim.clock.monotonicMs()
  const duplex = await run(net, connector.connect(key, 80, { signal }), 40_000)
  await roundTrip(net, duplex, Buffer.from(seededRng('swift user').bytes(40_000)))
  assert.ok(net.sim.clock.monotonicMs() - began < 15_000)
  await net.close()
})

test('a steady user reaches a service whose node runs swift', async () => {
  const { net, key } = await hosted('swift host', { count: 7, clock: 'swift' })
  assert.equal(net.services.get('web')?.carried, undefined)
  const { connector, pool } = net.connector(5, 'steady')
  await net.sim.clock.runUntil(() => pool.ready === 2, 60_000)
  const duplex = await run(net, connector.connect(key, 80, { signal }), 90_000)
  const content = Buffer.from(seededRng('swift host').bytes(100_000))
  await roundTrip(net, duplex, content)
  const began = net.sim.clock.monotonicMs()
  await roundTrip(net, await run(net, connector.connect(key, 80, { signal })), Buffer.from('again'))
  assert.ok(net.sim.clock.monotonicMs() - began < 8_000)
  assert.ok(pool.open().every(({ loop }) => loop.plan.clock === 'steady'))
  await net.close()
})

test('a steady user: the first connection brings him a faster loop; long holds and leads are waited for', async () => {
  const { net, key } = await hosted('steady4', { count: 6, holdMs: 400, leadEpochs: 10_000 / EPOCH_MS })
  const { connector, pool } = net.connector(5, 'steady')
  await net.sim.clock.runUntil(() => pool.ready === 2, 60_000)
  const began = net.sim.clock.monotonicMs()
  const first = await run(net, connector.connect(key, 80, { signal }), 120_000)
  const connectMs = net.sim.clock.monotonicMs() - began
  await roundTrip(net, first, Buffer.from('hello'))
  const echoMs = net.sim.clock.monotonicMs() - began
  assert.ok(connectMs < 60_000 && echoMs < connectMs + 15_000, `${connectMs} and ${echoMs} ms`)
  await roundTrip(net, await run(net, connector.connect(key, 80, { signal })), Buffer.alloc(100_000), 120_000)
  assert.ok(Math.max(...pool.open().map(({ loop }) => loop.rate)) >= 512)
  await net.close()
})

test('where a set-up takes over a minute, as in networks of a thousand, who has no loop yet is waited for as long', async () => {
  const { net, key } = await hosted('long leads', { count: 6, leadEpochs: 68_000 / EPOCH_MS })
  const { connector, pool } = net.connector(5, 'steady')
  await net.sim.clock.runUntil(() => pool.ready > 0, 200_000)
  await run(net, connector.connect(key, 80, { signal }), 120_000) // the standing loops are this user's from now on
  const began = net.sim.clock.monotonicMs()
  const duplex = await run(net, connector.connect(key, 80, { signal, isolation: 'another' }), 300_000)
  assert.ok(net.sim.clock.monotonicMs() - began > 68_000)
  await roundTrip(net, duplex, Buffer.from('hello'))
  await net.close()
})

test('what strangers do brings no loop, no step and no other time: the set is as without them', async () => {
  const sets: string[][] = []
  for (const used of [false, true]) {
    const { net, key } = await hosted('strangers', { rate: 8, count: 6 })
    const { connector, pool } = net.connector(5, 8)
    await net.sim.clock.runUntil(() => pool.ready === 2, 60_000)
    const start = net.sim.clock.unixMs()
    if (used) {
      const users = Array.from({ length: 8 }, (_, at) => connector.connect(key, 80, { signal, isolation: at < 6 ? '' : 'other' }))
      const connected = await run(net, Promise.allSettled(users), 120_000)
      assert.ok(connected.filter(({ status }) => status === 'fulfilled').length >= 6)
      for (const each of connected) {
        if (each.status === 'rejected') continue
        each.value.on('error', () => {})
        each.value.write(Buffer.alloc(50_000))
      }
      await pass(net, 5_000)
      connector.close()
    }
    while (net.sim.clock.unixMs() < start + 6 * 60_000) await net.sim.clock.advance(1_000)
    assert.ok(new Set(net.asked.map(({ at }) => at % EPOCH_MS)).size > 1, 'set-ups leave at any time of an epoch')
    sets.push(net.asked.map(({ at }) => `${at}`))
    await net.close()
  }
  assert.ok(sets[0]!.length >= 3)
  assert.deepEqual(sets[1], sets[0])
})

test('P5a: who taps every wire sees the same of a service that is used and of one that is not', async () => {
  const seen: string[][] = []
  for (const used of [false, true]) {
    const { net, key } = await hosted('taps', { rate: 32, count: 6 })
    const { connector, pool } = net.connector(5, 32)
    await net.sim.clock.runUntil(() => pool.ready === 2, 60_000)
    const until = net.sim.clock.monotonicMs() + 45_000
    if (used) {
      const duplex = await run(net, connector.connect(key, 80, { signal }), 40_000)
      await roundTrip(net, duplex, Buffer.from(seededRng('content').bytes(30_000)), 30_000)
    }
    await net.sim.clock.advance(until - net.sim.clock.monotonicMs())
    seen.push(net.writes.filter((write) => Number(write.split(' ')[0]) < until).sort())
    await net.close()
  }
  assert.ok(seen[0]!.length > 10_000)
  for (const [at, write] of seen[0]!.entries()) assert.equal(seen[1]![at], write)
  assert.equal(seen[1]!.length, seen[0]!.length)
})

test('cells that get lost, and loops that end of it, cost tries and not the connection', async () => {
  const { net, key } = await hosted('noisy', { count: 6, loops: 3, rate: 32 })
  const { clock, mesh } = net.sim
  const { connector, pool } = net.connector(5, 'steady')
  await clock.runUntil(() => pool.ready === 2, 60_000)
  const rng = seededRng('noise')
  let over = false
  const stall = () => {
    if (over) return
    const node = mesh.nodes[rng.below(6)]!.id
    mesh.wires.stall(node, true)
    clock.setTimer(100 + rng.below(250), () => mesh.wires.stall(node, false))
    clock.setTimer(1_000 + rng.below(6_000), stall)
  }
  stall()
  for (const isolation of ['one', 'two']) {
    const duplex = await run(net, connector.connect(key, 80, { signal, isolation }), 120_000)
    await roundTrip(net, duplex, Buffer.alloc(10_000))
  }
  assert.ok(pool.noiseCells > 20, `${pool.noiseCells} cells were lost`)
  over = true
  await pass(net, 500)
  await net.close()
})

test('a loop ends with its round: the session moves to another before, and a transfer goes on', async () => {
  const { net, key } = await hosted('rounds', { rate: 8, count: 6 })
  const { connector, pool } = net.connector(5, 8)
  await net.sim.clock.runUntil(() => pool.ready === 2, 60_000)
  const duplex = await run(net, connector.connect(key, 80, { signal }))
  let came = 0
  let longest = 0
  let last = net.sim.clock.monotonicMs()
  let sent = 0
  duplex.on('data', (part: Buffer) => {
    came += part.length
    longest = Math.max(longest, net.sim.clock.monotonicMs() - last)
    last = net.sim.clock.monotonicMs()
  })
  let failed = ''
  duplex.on('error', (error: unknown) => {
    failed = isOverlayError(error) ? error.code : String(error)
  })
  for (let second = 0; second < 11 * 60; second++) {
    duplex.write(Buffer.alloc(500))
    sent += 500
    for (let step = 0; step < 10; step++) {
      await net.sim.clock.advance(95)
      await pass(net, 5)
    }
  }
  await pass(net, 5_000)
  assert.deepEqual([came, failed], [sent, ''])
  assert.ok(longest < 6_000, `nothing came for ${longest} ms`)
  await net.close()
})
