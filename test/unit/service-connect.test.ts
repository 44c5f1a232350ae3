/**
 * Hosting and connecting over real introduction points, rendezvous points and sessions, with calls in place of loops (service-net.ts): how long
 * a connection takes, what happens when nodes die or the service is started anew, that users share nothing, that limits hold.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { CONNECT_MS, WARM_MS } from '../../client/service/client-session.ts'
import { ANSWERED_AT_ONCE, ANSWERED_PER_SEC, EFFORT_FIRST_BITS } from '../../client/service/effort.ts'
import type { Connector, LiveServices } from '../../client/service/index.ts'
import { introductionCall, type StandingPlaces } from '../../client/service/loops.ts'
import { SERVICES_MAX } from '../../client/service/services.ts'
import { SESSION_IDLE_MS } from '../../client/service/sessions.ts'
import { encodeServiceState, parseServiceState } from '../../client/service/state.ts'
import { Traces } from '../../client/trace/index.ts'
import { type NodeId, nodeIdOf } from '../../src/bytes/index.ts'
import { RATE_LADDER } from '../../src/circuit/setup/index.ts'
import { requireAddress } from '../../src/content/address.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { HELLO_BYTES, ServiceHandshakes, Session } from '../../src/service/index.ts'
import { encodeKeyRecord } from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { MemoryBook, ServiceNet } from '../support/service-net.ts'

const never = new AbortController()
let echo: { readonly port: number; readonly sockets: Set<Socket>; close(): void }
before(async () => {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  echo = { port: (server.address() as AddressInfo).port, sockets, close: () => server.close() }
})
after(() => {
  echo.close()
  for (const socket of echo.sockets) socket.destroy()
})

interface World {
  readonly net: ServiceNet
  readonly clock: FakeClock
  readonly book: MemoryBook
  services: LiveServices
  readonly key: Uint8Array
  readonly connector: Connector
  /** Runs until `promise` is settled: the fake clock moves, and real sockets are given time. */
  run<T>(promise: Promise<T>, withinMs?: number): Promise<T>
  /** Moves the clock on, giving real sockets time. */
  pass(ms: number): Promise<void>
  close(): Promise<void>
}

/** A service of node 0, up, and a connector at node 7. */
async function world(seed: string, prepare: (net: ServiceNet) => void = () => {}): Promise<World> {
  const clock = new FakeClock()
  const rng = seededRng(seed)
  const net = new ServiceNet(clock, rng, (role) => (ticket, events) => new Session({ role, ticket, clock, events }))
  prepare(net)
  const book = new MemoryBook(rng)
  const services = await net.host(0, book)
  const connector = net.connector(7)
  const made: World = {
    net,
    clock,
    book,
    services,
    key: new Uint8Array(0),
    connector,
    async run(promise, withinMs = 60_000) {
      let settled = false
      const mark = () => {
        settled = true
      }
      promise.then(mark, mark)
      for (let ms = 0; ms < withinMs && !settled; ms += 5) await made.pass(5)
      assert.ok(settled, `still pending after ${withinMs} ms`)
      return promise
    },
    async pass(ms) {
      for (let passed = 0; passed < ms; passed += 5) {
        await clock.advance(Math.min(5, ms - passed))
        if (passed < 500) await new Promise((resolve) => setImmediate(resolve))
      }
    },
    async close() {
      connector.close()
      await made.run(made.services.close())
      for (const node of net.nodes) {
        node.introductions.close()
        node.rendezvous.close()
      }
      await made.pass(1_000)
    },
  }
  const { address } = await made.run(services.add({ name: 'web', target: { host: 'localhost', port: echo.port } }))
  await up(made)
  return Object.assign(made, { key: requireAddress(address).key })
}

async function up({ services, pass }: World, withinMs = 10_000): Promise<void> {
  for (let ms = 0; ms < withinMs; ms += 50) {
    if (services.get('web')?.state === 'up') return
    await pass(50)
  }
  assert.fail(`not up after ${withinMs} ms: ${JSON.stringify(services.get('web'))}`)
}

/** Writes, reads as much, ends both directions. */
async function roundTrip({ run, pass }: World, duplex: Duplex, bytes: Buffer): Promise<void> {
  const parts: Buffer[] = []
  duplex.on('data', (part: Buffer) => parts.push(part))
  duplex.end(bytes)
  await run(once(duplex, 'end'))
  assert.deepEqual(Buffer.concat(parts), bytes)
  await pass(100)
}

/** Loops that stand for `sessionsMax` sessions at `places`, as far as the service has fewer. */
function standingAt(places: readonly NodeId[], sessionsMax: number, sessions: () => number, seconds = 500): StandingPlaces {
  const isFree = () => sessions() < sessionsMax
  return {
    figures: { loops: 2, rate: 128, running: 2, sessionsMax, sessions: 0 },
    cellsPerSecond: 256,
    prefer() {},
    points: () => places,
    offered: (_point, most, full = false) => (full || isFree() ? places.slice(0, most) : []),
    secondsAt: (node) => (places.includes(node) && isFree() ? seconds : null),
  }
}

test('standing loops: sessions meet where the service offers, points are among what they reach, and its status says what they are', async () => {
  const w = await world('standing', (net) => {
    net.standing = standingAt(
      net.nodes.slice(2, 4).map(({ id }) => id),
      32,
      () => 0,
    )
  })
  const { carried, introductionPoints } = w.services.get('web')!
  assert.equal(introductionPoints, 2)
  assert.deepEqual([carried?.loops, carried?.rate, carried?.sessionsMax], [2, 128, 32])
  assert.equal(carried?.bytesPerHour, 2 * 128 * 3600 * 2070)
  for (let at = 0; at < 6; at++) {
    const duplex = await w.run(w.connector.connect(w.key, 80, { signal: never.signal, isolation: `${at}` }))
    await roundTrip(w, duplex, Buffer.from('hello'))
  }
  const joins = w.net.asked.filter(({ kind }) => kind === 'join')
  const places = w.net.nodes.slice(2, 4).map(({ id }) => id)
  assert.ok(joins.length >= 12 && joins.every(({ node }) => places.includes(node)))
  await w.close()
})

test('standing loops: one session more than they carry is told that it is busy, until one was idle for a while', async () => {
  const held = { services: null as LiveServices | null }
  const w = await world('full', (net) => {
    net.standing = standingAt(
      net.nodes.slice(2, 6).map(({ id }) => id),
      2,
      () => held.services?.get('web')?.sessions ?? 0,
    )
  })
  held.services = w.services
  const [first, second] = await w.run(
    Promise.all(['a', 'b'].map((isolation) => w.connector.connect(w.key, 80, { signal: never.signal, isolation }))),
  )
  const third = () => w.run(w.connector.connect(w.key, 80, { signal: never.signal, isolation: 'c' }))
  await assert.rejects(third, (error) => isOverlayError(error, 'SERVICE_BUSY'))
  await roundTrip(w, first!, Buffer.from('bye'))
  await assert.rejects(third, (error) => isOverlayError(error, 'SERVICE_BUSY'), 'a pause is not yet idle')
  await w.pass(6_000)
  await roundTrip(w, await third(), Buffer.from('hello'))
  await roundTrip(w, second!, Buffer.from('still here'))
  assert.equal(w.services.get('web')!.sessions, 2)
  await w.close()
})

test('a way that ends by the clock is replaced before it does, as long as the session is used', async () => {
  const w = await world('moves', (net) => {
    net.standing = standingAt(
      net.nodes.slice(2, 6).map(({ id }) => id),
      32,
      () => 0,
      60,
    )
  })
  const duplex = await w.run(w.connector.connect(w.key, 80, { signal: never.signal }))
  const joins = () => w.net.asked.filter(({ kind, by }) => kind === 'join' && by === w.net.nodes[7]!.id).length
  assert.equal(joins(), 1)
  await w.pass(40_000)
  assert.equal(joins(), 2)
  await roundTrip(w, duplex, Buffer.from('over another way'))
  await w.pass(60_000)
  assert.equal(joins(), 2, 'nobody uses it')
  await w.close()
})

test('a connection to a live service, with the stages of its trace, and a second one that is faster', async () => {
  const w = await world('connect')
  const traces = new Traces({ clock: w.clock, rng: w.net.rng })
  const trace = traces.begin()
  const start = w.clock.monotonicMs()
  const first = await w.run(w.connector.connect(w.key, 80, { signal: never.signal, trace }))
  const took = w.clock.monotonicMs() - start
  assert.ok(took < 150, `${took} ms`)
  await roundTrip(w, first, Buffer.from('hello'))
  const stages = traces.report(trace.id)!.stages.map(({ stage }) => stage)
  for (const stage of ['introduction', 'rendezvous', 'handshake', 'connect']) assert.ok(stages.includes(stage), stages.join())
  const asked = w.net.asked.length
  const again = w.clock.monotonicMs()
  const second = await w.run(w.connector.connect(w.key, 80, { signal: never.signal }))
  assert.ok(w.clock.monotonicMs() - again < 40)
  assert.equal(w.net.asked.length, asked, 'nothing is set up anew')
  await roundTrip(w, second, Buffer.alloc(300_000, 3))
  assert.equal(w.services.get('web')?.sessions, 1)
  await w.close()
  assert.equal(w.clock.pendingTimers, 0)
})

test('it is up by the record that holders have, while a newer one is on its way', async () => {
  const w = await world('newer')
  const sequence = () => [...w.net.records.values()][0]!.sequence
  await w.pass(1_000)
  const before = sequence()
  const adding = w.services.add({ name: 'web', target: { host: 'localhost', port: 9 }, port: 81 })
  let looks = 0
  for (; sequence() === before; looks++) {
    assert.equal(w.services.get('web')?.state, 'up')
    await w.clock.advance(1)
    await new Promise((resolve) => setImmediate(resolve))
    assert.ok(looks < 1_000)
  }
  assert.ok(looks >= 3)
  await adding
  assert.equal(w.services.get('web')?.state, 'up')
  await w.close()
})

test('a hundred connections at once join one set-up', async () => {
  const w = await world('hundred')
  const all = await w.run(Promise.all(Array.from({ length: 100 }, () => w.connector.connect(w.key, 80, never))))
  assert.equal(w.net.asked.filter(({ kind }) => kind === 'join').length, 2)
  await Promise.all(all.map((duplex, at) => roundTrip(w, duplex, Buffer.from(`number ${at}`))))
  await w.close()
})

test('two isolation users share no session, no loop and no introduction', async () => {
  const w = await world('isolation')
  for (const isolation of ['alice', 'bob']) {
    const duplex = await w.run(w.connector.connect(w.key, 80, { signal: never.signal, isolation }))
    await roundTrip(w, duplex, Buffer.from(isolation))
  }
  assert.equal(w.services.get('web')?.sessions, 2)
  const self = w.net.nodes[7]!.id
  const mine = w.net.asked.filter(({ by }) => by === self)
  const introductions = mine.filter(({ kind }) => kind === 'introduction')
  assert.equal(introductions.length, 4)
  assert.equal(new Set(introductions.map(({ loop }) => loop)).size, 2, 'one loop for both messages, another for the other user')
  assert.equal(new Set(mine.filter(({ kind }) => kind === 'join').map(({ loop }) => loop)).size <= 2, true)
  await w.close()
})

test('a port that is not offered, and a target that is not there', async () => {
  const w = await world('refused')
  await assert.rejects(w.run(w.connector.connect(w.key, 81, never)), (error) => isOverlayError(error, 'SERVICE_REFUSED'))
  await w.run(w.services.add({ name: 'web', target: { host: '127.0.0.1', port: 1 }, port: 82 }))
  await assert.rejects(w.run(w.connector.connect(w.key, 82, never)), (error) => isOverlayError(error, 'SERVICE_REFUSED'))
  await w.close()
})

test('an introduction point that dies is got round at once, and replaced; the others stay', async () => {
  const w = await world('introduction dies')
  const points = w.net.records
    .values()
    .next()
    .value!.service!.points.map(({ node }) => node)
  assert.equal(points.length, 3)
  w.net.kill(points[0]!)
  w.net.kill(points[1]!)
  const start = w.clock.monotonicMs()
  const duplex = await w.run(w.connector.connect(w.key, 80, { signal: never.signal, isolation: 'new' }))
  assert.ok(w.clock.monotonicMs() - start < 5_000, `${w.clock.monotonicMs() - start} ms`)
  await roundTrip(w, duplex, Buffer.from('x'))
  w.net.hear(points[0]!)
  w.net.hear(points[1]!)
  await w.pass(90_000)
  const now = w.net.records
    .values()
    .next()
    .value!.service!.points.map(({ node }) => node)
  assert.equal(now.length, 3)
  assert.ok(!now.includes(points[0]!) && !now.includes(points[1]!) && now.includes(points[2]!))
  await w.close()
})

test('a point that is away has a stand-in within seconds, always the same one; back, it needs none', async () => {
  const w = await world('stand-in')
  await w.pass(11_000) // at first points have time to come
  const published = () =>
    w.net.records
      .values()
      .next()
      .value!.service!.points.map(({ node }) => node)
  const chosen = published()
  assert.equal(chosen.length, 3)
  const [first] = chosen
  const node = w.net.nodes.find(({ id }) => id === first)!
  let standIn = ''
  for (let time = 0; time < 3; time++) {
    node.dead = true
    for (const loop of w.net.openLoops(w.net.nodes[0]!.id)) if (loop.apex === first) loop.end()
    await w.pass(8_000)
    const now = published()
    assert.equal(now.length, 3)
    assert.ok(!now.includes(first!) && now.includes(chosen[1]!) && now.includes(chosen[2]!))
    const other = now.find((id) => !chosen.includes(id))!
    assert.equal(other, standIn === '' ? other : standIn)
    standIn = other
    node.dead = false
    await w.pass(30_000)
    assert.deepEqual(new Set(published()), new Set(chosen))
  }
  await w.close()
})

test('a rendezvous point that dies: the session gets another within two seconds, and its streams go on', async () => {
  const w = await world('rendezvous dies')
  const duplex = await w.run(w.connector.connect(w.key, 80, never))
  const got: Buffer[] = []
  duplex.on('data', (part: Buffer) => got.push(part))
  duplex.write('before ')
  await w.pass(200)
  const met = w.net.asked.findLast(({ kind }) => kind === 'join')?.node
  // When one of the two was drawn itself there is one join less; somebody's is always there.
  assert.ok(met !== undefined)
  w.net.kill(met, true)
  duplex.write('during ')
  await w.pass(2_000)
  assert.equal(Buffer.concat(got).toString(), 'before during ')
  duplex.write('after')
  await w.pass(500)
  assert.equal(Buffer.concat(got).toString(), 'before during after')
  assert.equal(w.services.get('web')?.sessions, 1)
  duplex.destroy()
  await w.close()
})

test('a service that was killed and started anew: same address, same points, new keys; who comes back is served', async () => {
  const w = await world('restart')
  const held = await w.run(w.connector.connect(w.key, 80, never))
  const errors: unknown[] = []
  held.on('error', (error) => errors.push(error))
  const before = w.net.records.values().next().value!.service!
  const address = w.services.get('web')!.address
  // As kill -9 does: loops die, nothing is said.
  for (const loop of w.net.openLoops(w.net.nodes[0]!.id)) loop.end()
  await w.run(w.services.close())
  w.services = await w.net.host(0, w.book)
  await up(w)
  assert.equal(w.services.get('web')?.address, address)
  const after = w.net.records.values().next().value!.service!
  assert.deepEqual(new Set(after.points.map(({ node }) => node)), new Set(before.points.map(({ node }) => node)))
  assert.notDeepEqual(after.x25519, before.x25519)
  const start = w.clock.monotonicMs()
  const duplex = await w.run(w.connector.connect(w.key, 80, never))
  assert.ok(w.clock.monotonicMs() - start < 5_000, `${w.clock.monotonicMs() - start} ms`)
  await roundTrip(w, duplex, Buffer.from('again'))
  await w.pass(35_000)
  assert.ok(errors.length === 1 && isOverlayError(errors[0], 'SERVICE_UNREACHABLE'))
  await w.close()
})

test('a service that is gone: unreachable soon, then at once; with nobody waiting it is not asked again', async () => {
  const w = await world('gone')
  await w.run(w.services.close())
  await w.pass(40_000) // its points are forgotten
  const start = w.clock.monotonicMs()
  await assert.rejects(w.run(w.connector.connect(w.key, 80, never)), (error) => isOverlayError(error, 'SERVICE_UNREACHABLE'))
  assert.ok(w.clock.monotonicMs() - start < 1_000)
  const asked = w.net.asked.length
  await assert.rejects(w.run(w.connector.connect(w.key, 80, never)), (error) => isOverlayError(error, 'SERVICE_UNREACHABLE'))
  assert.equal(w.net.asked.length, asked)
  await w.pass(10_000)
  assert.equal(w.connector.sessions, 0)
  await w.close()
})

test('all points die at once: a new user reaches the service over stand-ins', async () => {
  const w = await world('all die')
  await w.pass(11_000)
  for (const { node } of w.net.records.values().next().value!.service!.points) w.net.kill(node)
  const start = w.clock.monotonicMs()
  const duplex = await w.run(w.connector.connect(w.key, 80, never))
  assert.ok(w.clock.monotonicMs() - start < 15_000, `${w.clock.monotonicMs() - start} ms`)
  await roundTrip(w, duplex, Buffer.from('x'))
  await w.close()
})

test('points that swallow introductions: the time is bounded, and the error says at which stage', async () => {
  const w = await world('swallow')
  for (const { node } of w.net.records.values().next().value!.service!.points) w.net.kill(node)
  await w.run(w.services.close())
  const start = w.clock.monotonicMs()
  await assert.rejects(w.run(w.connector.connect(w.key, 80, never)), (error) => {
    return isOverlayError(error, 'SERVICE_UNREACHABLE') && /introduction points/.test(error.message)
  })
  assert.ok(w.clock.monotonicMs() - start < CONNECT_MS)
  await w.close()
})

test('who gives up waiting does not end the set-up for the others', async () => {
  const w = await world('give up')
  const impatient = new AbortController()
  const first = w.connector.connect(w.key, 80, { signal: impatient.signal })
  const second = w.connector.connect(w.key, 80, never)
  await w.pass(10)
  impatient.abort(new Error('enough'))
  await assert.rejects(first, /enough/)
  await roundTrip(w, await w.run(second), Buffer.from('here'))
  await w.close()
})

test('an idle session ends at both ends, and leaves no timer', async () => {
  const w = await world('idle')
  const duplex = await w.run(w.connector.connect(w.key, 80, never))
  await roundTrip(w, duplex, Buffer.from('x'))
  assert.equal(w.connector.sessions, 1)
  await w.pass(WARM_MS + 2_000)
  assert.equal(w.connector.sessions, 0)
  await w.pass(SESSION_IDLE_MS - WARM_MS + 5_000)
  assert.equal(w.services.get('web')?.sessions, 0)
  await w.close()
  assert.equal(w.clock.pendingTimers, 0)
})

test('what is on disk is whole after each change; a removed service is gone from the record, and keeps its key', async () => {
  const w = await world('disk')
  await w.run(w.services.add({ name: 'web', target: { host: '::1', port: 22 }, port: 22 }))
  const saved = parseServiceState((await w.book.readPart('web', 'service'))!)!
  assert.deepEqual(
    saved.ports.map(({ port, host }) => [port, host]),
    [
      [22, '::1'],
      [80, '127.0.0.1'],
    ],
  )
  assert.equal(saved.points.length, 3)
  assert.deepEqual(w.services.get('web')?.ports[0], { port: 22, target: '[::1]:22' })
  assert.equal(await w.run(w.services.remove('web')), true)
  assert.equal(await w.run(w.services.remove('web')), false)
  await w.pass(100)
  assert.equal(w.net.records.values().next().value!.service, null)
  assert.deepEqual(w.services.list(), [])
  const again = await w.run(w.services.add({ name: 'web', target: { host: '127.0.0.1', port: echo.port } }))
  assert.deepEqual(requireAddress(again.address).key, w.key)
  assert.deepEqual(parseServiceState((await w.book.readPart('web', 'service'))!)!.secret, saved.secret)
  await w.close()
})

test('bad wishes and too many services are refused', async () => {
  const w = await world('wishes')
  const bad = [
    { name: 'Web', target: { host: '127.0.0.1', port: 1 } },
    { name: 'web', target: { host: 'example.org', port: 1 } },
    { name: 'web', target: { host: '127.0.0.1', port: 0 } },
    { name: 'web', target: { host: '127.0.0.1', port: 1 }, port: 70_000 },
  ]
  for (const wish of bad) await assert.rejects(w.run(w.services.add(wish)), (error) => isOverlayError(error, 'CONFIG_BAD'))
  const target = { host: '127.0.0.1', port: echo.port }
  for (let port = 1; port <= 15; port++) await w.run(w.services.add({ name: 'web', target, port }))
  await assert.rejects(w.run(w.services.add({ name: 'web', target, port: 16 })), (error) =>
    isOverlayError(error, 'SERVICE_LIMIT'),
  )
  for (let at = 1; at < SERVICES_MAX; at++) await w.run(w.services.add({ name: `s${at}`, target }))
  await assert.rejects(w.run(w.services.add({ name: 'more', target })), (error) => isOverlayError(error, 'SERVICE_LIMIT'))
  await w.close()
})

test('a service that does not get to the rendezvous point: another one is tried soon', async () => {
  const w = await world('not met')
  const host = w.net.nodes[0]!.id
  let blocked = 0
  w.net.refuseJoin = (by) => by === host && blocked++ < 1
  const start = w.clock.monotonicMs()
  const duplex = await w.run(w.connector.connect(w.key, 80, never))
  assert.equal(blocked, 2)
  assert.ok(w.clock.monotonicMs() - start < 3_000, `${w.clock.monotonicMs() - start} ms`)
  await roundTrip(w, duplex, Buffer.from('met'))
  assert.equal(w.services.get('web')?.sessions, 1)
  await w.close()
})

test('a flood of introductions: the record asks for work, who brings it is served, and the service stays bounded', async () => {
  const w = await world('flood')
  const record = () => w.net.records.values().next().value!.service!
  const points = record().points
  const attacker = w.net.loops(w.net.nodes[5]!.id)
  const loops = await w.run(Promise.all(points.map(({ node }) => attacker.take(node, never))))
  let answered = 0
  /** 200 a second that look right and open nothing. */
  const flood = async (seconds: number) => {
    for (let tenth = 0; tenth < 10 * seconds; tenth++) {
      for (let one = 0; one < 20; one++) {
        const { point } = points[one % points.length]!
        const message = w.net.rng.bytes(HELLO_BYTES)
        message[0] = 1
        const call = introductionCall({ kind: 'introduce', point, message, work: new Uint8Array(0) })
        loops[one % loops.length]!.ask(call, never).then(
          () => answered++,
          () => {},
        )
      }
      await w.clock.advance(100)
    }
  }
  await flood(8)
  assert.equal(record().effort, EFFORT_FIRST_BITS)
  // Messages wait 15 s at most, at the points and here: what was not answered is forgotten.
  const connected = w.connector.connect(w.key, 80, never)
  let duplex: Duplex | null = null
  connected.then((made) => {
    duplex = made
  })
  const start = w.clock.monotonicMs()
  while (duplex === null && w.clock.monotonicMs() - start < 10_000) {
    await flood(0.1)
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.ok(duplex !== null, 'not served under the flood')
  await roundTrip(w, duplex, Buffer.from('worked'))
  assert.ok(answered < 12 * ANSWERED_PER_SEC + ANSWERED_AT_ONCE, `${answered} were answered`)
  await w.pass(200_000)
  assert.equal(record().effort, 0)
  attacker.closeAll()
  await w.close()
})

test('many introductions at once do not make the node stand still: a turn answers one, and cells go between', async (t) => {
  const w = await world('turns')
  const { hello } = ServiceHandshakes.prototype
  let inTurn = 0
  let most = 0
  let count = 0
  ServiceHandshakes.prototype.hello = function (...args) {
    count++
    most = Math.max(most, ++inTurn)
    if (inTurn === 1) {
      w.clock.nextTurn(() => {
        inTurn = 0
      })
    }
    return hello.apply(this, args)
  }
  t.after(() => {
    ServiceHandshakes.prototype.hello = hello
  })
  const { points } = w.net.records.values().next().value!.service!
  const attacker = w.net.loops(w.net.nodes[5]!.id)
  const loops = await w.run(Promise.all(points.map(({ node }) => attacker.take(node, never))))
  for (let one = 0; one < 48; one++) {
    const at = one % points.length
    const message = w.net.rng.bytes(HELLO_BYTES)
    message[0] = 1
    const call = introductionCall({ kind: 'introduce', point: points[at]!.point, message, work: new Uint8Array(0) })
    loops[at]!.ask(call, never).catch(() => {})
  }
  await w.pass(1_000)
  assert.equal(count, 48)
  assert.equal(most, 1)
  attacker.closeAll()
  await w.close()
})

test('a service may draw its own node as introduction point, or it would be the one that never is, and works there as anywhere', async () => {
  let own = 0
  for (let seed = 0; seed < 12; seed++) {
    const w = await world(`own point ${seed}`)
    const host = w.net.nodes[0]!.id
    const record = w.net.records.values().next().value!
    const points = record.service!.points
    if (points.some(({ node }) => node === host)) {
      own++
      // All others die: whoever comes, comes through its own node.
      record.service = { ...record.service!, points: points.filter(({ node }) => node === host) }
      const duplex = await w.run(w.connector.connect(w.key, 80, never))
      await roundTrip(w, duplex, Buffer.from('through itself'))
      assert.ok(w.net.asked.some(({ by, node, kind }) => by === host && node === host && kind === 'introduction'))
    }
    await w.close()
  }
  assert.ok(own >= 2 && own <= 9, `in ${own} of 12`)
})

test('what a record says names neither the service nor its keys, and a damaged state is left alone', async () => {
  const w = await world('record')
  const { service } = w.net.records.values().next().value!
  const host = w.net.nodes[0]!.id
  // Its node may be a point, as any other may; it stands nowhere else.
  const points = service!.points.filter(({ node }) => node !== host)
  const text = Buffer.from(encodeKeyRecord({ sequence: 1, site: null, service: { ...service!, points } })).toString('hex')
  assert.ok(!text.includes(host))
  for (const { token } of parseServiceState((await w.book.readPart('web', 'service'))!)!.points) {
    assert.ok(!text.includes(Buffer.from(token).toString('hex')))
  }
  await w.run(w.services.close())
  await w.book.writePart('web', 'service', Buffer.from('{"version":1,"ports":[{"port":80}]}'))
  w.services = await w.net.host(0, w.book)
  assert.deepEqual(w.services.list(), [])
  await w.close()
})

test('states on disk: what was written is read again; anything else is refused', () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
  const plain = { noNullPrototype: true }
  const port = fc.record(
    {
      port: fc.integer({ min: 1, max: 65_535 }),
      host: fc.oneof(fc.ipV4(), fc.ipV6()),
      targetPort: fc.integer({ min: 1, max: 65_535 }),
    },
    plain,
  )
  const point = fc.record(
    {
      node: bytes(32).map((id) => nodeIdOf(id)),
      token: bytes(32),
      untilMs: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    },
    plain,
  )
  const state = fc.record(
    {
      ports: fc.uniqueArray(port, { maxLength: 16, selector: (each) => each.port }),
      secret: bytes(32),
      points: fc.array(point, { maxLength: 8 }),
      carriage: fc.record({ loops: fc.integer({ min: 1, max: 8 }), rate: fc.constantFrom(...RATE_LADDER) }, plain),
    },
    plain,
  )
  fc.assert(
    fc.property(state, fc.nat(), (written, at) => {
      const encoded = encodeServiceState(written)
      assert.deepEqual(parseServiceState(encoded), written)
      const cut = encoded.slice(0, at % (encoded.length - 1))
      assert.equal(parseServiceState(cut), null)
    }),
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.json().map((text) => Buffer.from(text)),
        fc.uint8Array(),
      ),
      (junk) => {
        assert.equal(parseServiceState(junk), null)
      },
    ),
  )
})
