/** Streams of a session as Duplexes, and from there to real TCP targets: whole bytes, half-close, back-pressure, resets, limits. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { after, test } from 'node:test'
import { StreamDuplex } from '../../client/service/duplex.ts'
import { CONNECTIONS_MAX, Forwarder, TARGET_TIMEOUT_MS } from '../../client/service/forward.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { StreamReset } from '../../src/service/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { fakeStreamPair } from '../support/fake-session.ts'
import { eventually } from '../support/processes.ts'

const servers: Server[] = []
after(() => {
  for (const server of servers) server.close()
})

async function listen(onSocket: (socket: Socket) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    onSocket(socket)
  })
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** A client's Duplex whose stream is forwarded to `targetPort`. */
function connected(forwarder: Forwarder, targetPort: number) {
  const [client, service] = fakeStreamPair(80)
  const opened = Promise.withResolvers<void>()
  const gone: (number | null)[] = []
  const duplex = new StreamDuplex({ onOpened: () => opened.resolve(), onGone: (code) => gone.push(code) }).bind(client)
  client.events = duplex
  const taken = forwarder.forward(service, { port: 80, host: '127.0.0.1', targetPort })
  if (typeof taken === 'number') client.die(taken)
  else service.events = taken
  return { duplex, client, service, opened: opened.promise, gone }
}

const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

async function readAll(from: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of from) parts.push(part)
  return Buffer.concat(parts)
}

test('8 MiB go to the target and back, and each side ends its direction by itself', async () => {
  const port = await listen((socket) => void readAll(socket).then((all) => socket.end(all)))
  const forwarder = new Forwarder(systemClock)
  const { duplex, opened, gone } = connected(forwarder, port)
  const sent = randomBytes(8 * 2 ** 20)
  duplex.end(sent)
  await opened
  assert.equal(hash(await readAll(duplex)), hash(sent))
  await eventually('the connection is over', () => forwarder.connections === 0)
  assert.deepEqual(gone, [null])
  forwarder.close()
})

test('a chunk may be changed as soon as it was written', async () => {
  const port = await listen((socket) => void readAll(socket).then((all) => socket.end(all)))
  const forwarder = new Forwarder(systemClock)
  const { duplex } = connected(forwarder, port)
  const chunk = Buffer.alloc(1000, 1)
  await new Promise((done) => duplex.write(chunk, done))
  chunk.fill(2)
  duplex.end()
  assert.deepEqual(await readAll(duplex), Buffer.alloc(1000, 1))
  forwarder.close()
})

test('a reader that does not read stops the target; a target that does not read stops the writer', async () => {
  let sentByTarget = 0
  const port = await listen((socket) => {
    const more = () => {
      while (sentByTarget < 64 * 2 ** 20 && socket.write(Buffer.alloc(65_536))) sentByTarget += 65_536
    }
    socket.on('drain', more)
    more()
  })
  const forwarder = new Forwarder(systemClock)
  const { duplex, opened, service, client } = connected(forwarder, port)
  await opened
  duplex.on('error', () => {})
  const written = { bytes: 0 }
  const push = () => {
    while (written.bytes < 64 * 2 ** 20 && duplex.write(Buffer.alloc(65_536))) written.bytes += 65_536
  }
  duplex.on('drain', push)
  push()
  let before = -1
  await eventually('both have stopped', async () => {
    const now = sentByTarget + written.bytes
    const stopped = now === before
    before = now
    await new Promise((resolve) => setTimeout(resolve, 150))
    return stopped
  })
  // What kernels, Node's buffers and credit hold.
  assert.ok(sentByTarget < 16 * 2 ** 20 && written.bytes < 16 * 2 ** 20, `${sentByTarget} and ${written.bytes}`)
  assert.ok(service.heldBytes + client.heldBytes < 2 * 2 ** 20)
  duplex.destroy()
  await eventually('the connection is over', () => forwarder.connections === 0)
  forwarder.close()
})

test('single bytes that nobody reads are held together, not each for itself; and come out whole', async () => {
  for (const readerWants of ['all', 'four'] as const) {
    const [client] = fakeStreamPair(80)
    const duplex = new StreamDuplex().bind(client)
    client.events = duplex
    let pushes = 0
    const push = duplex.push.bind(duplex)
    duplex.push = (chunk: unknown) => {
      pushes++
      return push(chunk)
    }
    const sent = Buffer.from(Array.from({ length: 30_000 }, (_, at) => at & 255))
    for (let at = 0; at < sent.length; at++) {
      duplex.onData(sent, at, 1)
      if (at % 3 === 0) await Promise.resolve() // as if each came in a payload of its own
    }
    assert.ok(pushes < 20, `${pushes} chunks wait for the reader`)
    duplex.onFin()
    if (readerWants === 'all') {
      assert.deepEqual(await readAll(duplex), sent)
    } else {
      const parts: Buffer[] = []
      duplex.on('readable', () => {
        for (let part = duplex.read(4) as Buffer | null; part !== null; part = duplex.read(4) as Buffer | null) parts.push(part)
      })
      await once(duplex, 'end')
      assert.deepEqual(Buffer.concat(parts), sent)
    }
  }
})

test('a reader of pieces gets what came although less than a piece was there before', async () => {
  const [client] = fakeStreamPair(80)
  const duplex = new StreamDuplex().bind(client)
  client.events = duplex
  duplex.onData(Uint8Array.of(1, 2), 0, 2)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(duplex.read(4), null)
  duplex.onData(Uint8Array.of(3), 0, 1)
  duplex.onData(Uint8Array.of(4), 0, 1)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(duplex.read(4), Buffer.of(1, 2, 3, 4))
})

test('a client that resets becomes a TCP reset; a target that resets becomes a reset', async () => {
  let sawReset = 0
  const port = await listen((socket) => {
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET') sawReset++
    })
    socket.on('data', (bytes) => {
      if (bytes.toString() === 'break') socket.resetAndDestroy()
    })
  })
  const forwarder = new Forwarder(systemClock)
  const first = connected(forwarder, port)
  await first.opened
  first.duplex.write('hello')
  first.duplex.destroy()
  await eventually('the target saw a reset', () => sawReset === 1)
  const second = connected(forwarder, port)
  await second.opened
  second.duplex.write('break')
  const [error] = (await once(second.duplex, 'error')) as [Error]
  assert.ok(isOverlayError(error, 'SERVICE_REFUSED'))
  assert.equal(second.service.resetBy, StreamReset.TARGET_GONE)
  await eventually('both are over', () => forwarder.connections === 0)
  forwarder.close()
})

test('no such port, no such target, too many connections: each is refused for its own reason', async () => {
  const forwarder = new Forwarder(systemClock)
  const [, unoffered] = fakeStreamPair(81)
  assert.equal(forwarder.forward(unoffered, undefined), StreamReset.REFUSED)
  const closedPort = await listen(() => {})
  await new Promise((done) => servers.pop()!.close(done))
  const gone = connected(forwarder, closedPort)
  gone.duplex.on('error', () => {})
  await eventually('refused', () => gone.service.resetBy === StreamReset.TARGET_GONE)
  assert.equal(gone.service.accepted, false)

  const port = await listen(() => {})
  const held = Array.from({ length: CONNECTIONS_MAX }, () => connected(forwarder, port))
  for (const { duplex } of held) duplex.on('error', () => {})
  const [, one] = fakeStreamPair(80)
  assert.equal(forwarder.forward(one, { port: 80, host: '127.0.0.1', targetPort: port }), StreamReset.BUSY)
  forwarder.close()
  await eventually('all are over', () => forwarder.connections === 0)
  assert.equal(forwarder.forward(one, { port: 80, host: '127.0.0.1', targetPort: port }), StreamReset.BUSY)
})

test('a target that does not answer is given up in time', async () => {
  const clock = new FakeClock()
  const forwarder = new Forwarder(clock)
  const [client, service] = fakeStreamPair(80)
  client.events = new StreamDuplex().bind(client).on('error', () => {})
  // TEST-NET-1 (RFC 5737): nobody answers there. If the machine says so at once, that is the same to the client.
  const taken = forwarder.forward(service, { port: 80, host: '192.0.2.1', targetPort: 9 })
  assert.ok(typeof taken !== 'number')
  service.events = taken
  await clock.advance(TARGET_TIMEOUT_MS)
  assert.equal(service.resetBy, StreamReset.TARGET_GONE)
  await eventually('it is over', () => forwarder.connections === 0)
  assert.equal(clock.pendingTimers, 0)
})
