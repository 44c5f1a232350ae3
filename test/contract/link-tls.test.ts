/**
 * What holds for links on real sockets only: what an observer of the wire sees, and what strangers at the port can do.
 */
import assert from 'node:assert/strict'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { after, describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { CELL_BYTES, type CircuitId, Command } from '../../src/cell/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import type { Link, LinkHost } from '../../src/link/index.ts'
import { createLibp2pHost, type LinkLimits, parseAddress } from '../../src/link/libp2p/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { seededRng } from '../support/seeded-rng.ts'
import { NumberedLane, Recorder } from './link.ts'

const NEVER = new AbortController().signal
const rng = seededRng('tls')
const opened: { close(): Promise<void> | void }[] = []

after(async () => {
  for (const resource of opened.reverse()) await resource.close()
})

async function until(done: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 20_000
  while (!done()) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`)
    await turn()
  }
}

interface HostOptions {
  readonly listen?: readonly string[]
  readonly limits?: Partial<LinkLimits>
  readonly seed?: Uint8Array
  readonly onFault?: (details: object) => void
}

async function startHost({
  listen = ['/ip4/127.0.0.1/tcp/0'],
  limits = {},
  seed = rng.bytes(32),
  onFault,
}: HostOptions = {}): Promise<LinkHost> {
  const log = { debug: () => {}, error: onFault ?? ((details: object) => assert.fail(JSON.stringify(details))) }
  const host = await createLibp2pHost({ signingSeed: seed, listen, clock: systemClock, log, limits })
  await host.start()
  opened.push(host)
  return host
}

function portOf(host: LinkHost): number {
  return parseAddress(host.addresses[0]!)!.port
}

/** What went over a connection: whole, in order, by direction. */
interface Tapped {
  readonly up: Buffer[]
  readonly down: Buffer[]
}

/** A listener that forwards to `port` and keeps all bytes. */
async function tap(port: number): Promise<{ address: string; seen: Tapped; server: Server }> {
  const seen: Tapped = { up: [], down: [] }
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    const forward = (from: Socket, to: Socket, into: Buffer[]) => {
      from.on('data', (bytes: Buffer) => {
        into.push(bytes)
        to.write(bytes)
      })
      from.on('close', () => to.destroy())
      from.on('error', () => to.destroy())
    }
    forward(near, far, seen.up)
    forward(far, near, seen.down)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened.push({ close: () => void server.close() })
  const bound = server.address()
  assert.ok(typeof bound === 'object' && bound !== null)
  return { address: `/ip4/127.0.0.1/tcp/${bound.port}`, seen, server }
}

interface TlsRecord {
  readonly type: number
  readonly length: number
}

/** Cuts a byte stream into TLS records (RFC 8446 §5.1). */
function recordsIn(chunks: readonly Buffer[]): TlsRecord[] {
  const bytes = Buffer.concat(chunks)
  const records: TlsRecord[] = []
  let at = 0
  while (at < bytes.length) {
    const record = { type: bytes[at]!, length: bytes.readUInt16BE(at + 3) }
    assert.equal(bytes[at + 1], 3, 'not a record')
    records.push(record)
    at += 5 + record.length
  }
  assert.equal(at, bytes.length, 'a record is cut')
  return records
}

/** Lengths of the payloads of WebSocket frames (RFC 6455 §5.2) behind the HTTP head. */
function framesIn(chunks: readonly Buffer[]): number[] {
  const bytes = Buffer.concat(chunks)
  const lengths: number[] = []
  let at = bytes.indexOf('\r\n\r\n') + 4
  while (at < bytes.length) {
    const masked = (bytes[at + 1]! & 0x80) !== 0
    const short = bytes[at + 1]! & 0x7f
    assert.ok(short < 127, 'a frame of 64 KiB or more')
    const length = short === 126 ? bytes.readUInt16BE(at + 2) : short
    lengths.push(length)
    at += 2 + (short === 126 ? 2 : 0) + (masked ? 4 : 0) + length
  }
  assert.equal(at, bytes.length, 'a frame is cut')
  return lengths
}

const CHANGE_CIPHER_SPEC = 20
const HANDSHAKE = 22
const APPLICATION_DATA = 23
/** A cell, its content type (1) and the tag (16). */
const CELL_RECORD = CELL_BYTES + 17

describe('links on real sockets', () => {
  test('after the handshake every record, both ways, has the size of one cell; nothing in clear names us', {
    timeout: 60_000,
  }, async () => {
    const a = await startHost()
    const b = await startHost()
    const wire = await tap(portOf(b))
    const here = new Recorder()
    const there = new Recorder()
    let far: Link | null = null
    b.onInbound = (link) => {
      far = link
      link.start(there)
    }
    const link = await a.dial(b.id, [wire.address], { signal: NEVER })
    link.start(here)
    await until(() => far !== null, 'the inbound link')
    await until(() => wire.seen.down.length > 0, 'the handshake')
    // The handshake's records are those that went before the first cell of their direction.
    const before = { up: recordsIn(wire.seen.up).length, down: recordsIn(wire.seen.down).length }
    const there1 = new NumberedLane(link, 2)
    const back = new NumberedLane(far!, 1)
    // Batches of every size, alone and together.
    for (const batch of [1, 2, 3, 31, 32, 33, 64, 5, 1, 1]) {
      for (let cell = 0; cell < batch; cell++) assert.ok(there1.push() && back.push())
      link.flush()
      far!.flush()
      await until(() => there.cells === there1.sent && here.cells === back.sent, 'the batch')
    }
    link.close('local')
    await until(() => here.closes.length === 1 && there.closes.length === 1, 'the close')
    for (const [direction, cells] of [
      ['up', there1.sent],
      ['down', back.sent],
    ] as const) {
      const records = recordsIn(wire.seen[direction])
      const cellRecords = records.slice(before[direction])
      assert.deepEqual(
        [...new Set(cellRecords.map(({ type, length }) => `${type}/${length}`))],
        [`${APPLICATION_DATA}/${CELL_RECORD}`],
        direction,
      )
      assert.equal(cellRecords.length, cells, direction)
      // Tickets for resumption would be records of 74 bytes.
      assert.ok(records.every(({ length }) => length !== 74))
      const kinds = new Set(records.slice(0, before[direction]).map(({ type }) => type))
      assert.ok([...kinds].every((type) => [CHANGE_CIPHER_SPEC, HANDSHAKE, APPLICATION_DATA].includes(type)))
    }
    // The hybrid group shows in the first records: 1184 bytes of ML-KEM key up, 1088 of ciphertext down.
    assert.ok(recordsIn(wire.seen.up)[0]!.length > 1184 && recordsIn(wire.seen.down)[0]!.length > 1088)
    const clear = Buffer.concat([...wire.seen.up, ...wire.seen.down])
      .toString('latin1')
      .toLowerCase()
    for (const word of ['gyre', 'libp2p', 'cells', '12d3koo', a.id, b.id]) assert.ok(!clear.includes(word), word)
  })

  test('WebSocket: a batch of cells does not show in the sizes of frames', { timeout: 60_000 }, async () => {
    const a = await startHost()
    const b = await startHost({ listen: ['/ip4/127.0.0.1/tcp/0/ws'] })
    const wire = await tap(portOf(b))
    const there = new Recorder()
    b.onInbound = (link) => link.start(there)
    const link = await a.dial(b.id, [`${wire.address}/ws`], { signal: NEVER })
    link.start(new Recorder())
    const lane = new NumberedLane(link, 2)
    for (const batch of [1, 2, 15, 16, 17, 32, 5, 1]) {
      for (let cell = 0; cell < batch; cell++) assert.ok(lane.push())
      link.flush()
      await until(() => there.cells === lane.sent, 'the batch')
    }
    const frames = framesIn(wire.seen.up)
    // Length, ciphertext and tag of one Noise message, for each cell alike.
    const cells = Array.from({ length: lane.sent }, () => [2, CELL_BYTES, 16]).flat()
    assert.deepEqual(frames.slice(-cells.length), cells)
    assert.ok(
      frames.slice(0, -cells.length).every((length) => length < CELL_BYTES),
      'the handshake',
    )
    link.close('local')
  })

  test('the handshake: TLS 1.3 only, no tickets, no ALPN, no stranger without a certificate', { timeout: 60_000 }, async () => {
    const host = await startHost()
    const socket = connectTls({ host: '127.0.0.1', port: portOf(host), rejectUnauthorized: false, ALPNProtocols: ['h2'] })
    let tickets = 0
    socket.on('session', () => tickets++)
    socket.on('error', () => {})
    await new Promise<void>((resolve) => socket.once('secureConnect', resolve))
    assert.equal(socket.getProtocol(), 'TLSv1.3')
    assert.equal(socket.alpnProtocol, false)
    // A stranger without a certificate is dropped, and was never given a session to resume.
    await new Promise<void>((resolve) => socket.once('close', () => resolve()))
    assert.equal(tickets, 0)
    const old = connectTls({ host: '127.0.0.1', port: portOf(host), rejectUnauthorized: false, maxVersion: 'TLSv1.2' })
    await assert.rejects(new Promise((resolve, reject) => old.once('secureConnect', resolve).once('error', reject)))
    old.destroy()
  })

  test('strangers at the port: garbage, silence and half handshakes end by themselves, and links still come', {
    timeout: 60_000,
  }, async () => {
    for (const suffix of ['', '/ws']) {
      const host = await startHost({ listen: [`/ip4/127.0.0.1/tcp/0${suffix}`], limits: { handshakeTimeoutMs: 300 } })
      host.onInbound = (link) => link.start(new Recorder())
      const sayings = [
        '',
        '\x00',
        'GET / HTTP/1.1\r\n\r\n',
        'GET / HTTP/1.1\r\nUpgrade: websocket\r\n',
        '\x16\x03\x01\x02\x00\x01\x00',
        'x'.repeat(5_000),
      ]
      const closed = sayings.map((saying) => {
        const socket = connect(portOf(host), '127.0.0.1')
        socket.on('error', () => {})
        socket.on('data', () => {})
        if (saying !== '') socket.write(saying, 'latin1')
        return new Promise((resolve) => socket.once('close', resolve))
      })
      const dialler = await startHost()
      const link = await dialler.dial(host.id, host.addresses, { signal: NEVER })
      assert.equal(link.open, true)
      link.close('local')
      await Promise.all(closed)
    }
  })

  test('silent strangers in every place keep nobody out for longer than a second', { timeout: 60_000 }, async () => {
    for (const suffix of ['', '/ws']) {
      const host = await startHost({ listen: [`/ip4/127.0.0.1/tcp/0${suffix}`] })
      host.onInbound = (link) => link.start(new Recorder())
      const sockets = Array.from({ length: 200 }, () => connect(portOf(host), '127.0.0.1').on('error', () => {}))
      opened.push({ close: () => sockets.forEach((socket) => void socket.destroy()) })
      await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))))
      const dialler = await startHost()
      const began = performance.now()
      let link: Link | null = null
      while (link === null && performance.now() - began < 5_000) {
        link = await dialler.dial(host.id, host.addresses, { signal: NEVER }).catch(() => null)
      }
      assert.notEqual(link, null)
      link?.close('local')
      for (const socket of sockets) socket.destroy()
    }
  })

  test('a stranger that sends malformed frames, or one without end, is cut off at once', { timeout: 60_000 }, async () => {
    const host = await startHost({ listen: ['/ip4/127.0.0.1/tcp/0/ws'] })
    const upgrade = [
      'GET / HTTP/1.1',
      'Host: x',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`,
    ]
    // Reserved bits set; then a final binary frame, masked, that announces 64 MiB.
    for (const frame of [Buffer.from([0xf2, 0x80, 0, 0, 0, 0]), Buffer.from([0x82, 0xff, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0])]) {
      const socket = connect(portOf(host), '127.0.0.1')
      socket.on('error', () => {})
      socket.write(`${upgrade.join('\r\n')}\r\n\r\n`)
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
      await new Promise<void>((resolve) => socket.once('data', () => resolve()))
      socket.on('data', () => {})
      socket.write(frame)
      let sent = 0
      const more = () => {
        // As long as somebody reads; what the kernel buffers is not the program's memory.
        while (!socket.destroyed && sent < 64 * 1024 * 1024 && socket.write(Buffer.alloc(64 * 1024))) sent += 64 * 1024
      }
      socket.on('drain', more)
      more()
      await closed
      assert.ok(sent < 32 * 1024 * 1024, `${sent} bytes were taken`)
    }
  })

  test('a listener that never answers costs the handshake time-out, then TIMEOUT', { timeout: 60_000 }, async () => {
    const sockets: Socket[] = []
    const mute = createServer((socket) => sockets.push(socket))
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
    const bound = mute.address()
    assert.ok(typeof bound === 'object' && bound !== null)
    const host = await startHost({ listen: [], limits: { handshakeTimeoutMs: 200 } })
    const nobody = 'e'.repeat(64) as typeof host.id
    for (const suffix of ['', '/ws']) {
      const dialled = host.dial(nobody, [`/ip4/127.0.0.1/tcp/${bound.port}${suffix}`], { signal: NEVER })
      await assert.rejects(dialled, (error) => isOverlayError(error, 'TIMEOUT'))
      const controller = new AbortController()
      const reason = new Error('stop')
      const stopped = host.dial(nobody, [`/ip4/127.0.0.1/tcp/${bound.port}${suffix}`], { signal: controller.signal })
      setImmediate(() => controller.abort(reason))
      await assert.rejects(stopped, (error) => error === reason)
    }
    for (const socket of sockets) socket.destroy()
    mute.close()
  })

  test('limits: connections per address and unauthenticated ones are refused before any handshake', {
    timeout: 60_000,
  }, async () => {
    const limits = { perAddressAtOnce: 3, perAddressPerSec: 100, countLoopback: true }
    const host = await startHost({ listen: ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.1/tcp/0/ws'], limits })
    const links: Link[] = []
    host.onInbound = (link) => {
      links.push(link)
      link.start(new Recorder())
    }
    for (const address of [host.addresses[0]!, host.addresses[1]!, host.addresses[0]!]) {
      const dialler = await startHost({ listen: [] })
      await dialler.dial(host.id, [address], { signal: NEVER })
    }
    await until(() => links.length === 3, 'three links')
    for (const address of host.addresses) {
      const dialler = await startHost({ listen: [] })
      const refused = dialler.dial(host.id, [address], { signal: NEVER })
      await assert.rejects(refused, (error) => isOverlayError(error, 'LINK_UNREACHABLE'))
    }
    assert.equal(links.length, 3)
    links[0]!.close('local')
    await turn()
    const dialler = await startHost({ listen: [] })
    await until(() => !links[0]!.open, 'room')
    // The socket's end frees the place a moment later than the link's.
    let link: Link | null = null
    for (let tries = 0; link === null && tries < 20; tries++) {
      link = await dialler.dial(host.id, host.addresses, { signal: NEVER }).catch(() => null)
    }
    assert.notEqual(link, null)
  })

  test('forty nodes dial one at once from one address', { timeout: 60_000 }, async () => {
    const host = await startHost()
    let inbound = 0
    host.onInbound = (link) => {
      inbound++
      link.start(new Recorder())
    }
    const diallers = await Promise.all(Array.from({ length: 40 }, () => startHost({ listen: [] })))
    const links = await Promise.all(diallers.map((dialler) => dialler.dial(host.id, host.addresses, { signal: NEVER })))
    await until(() => inbound === 40, 'forty links')
    assert.ok(links.every((link) => link.open))
  })

  test('a node that restarts, unnoticed by its peer, gets its link again', { timeout: 60_000 }, async () => {
    const seed = rng.bytes(32)
    const host = await startHost({ limits: { handshakeTimeoutMs: 300 } })
    const closes: string[] = []
    const links: Link[] = []
    host.onInbound = (link) => {
      links.push(link)
      link.start({ onCells: () => {}, onTurnEnd: () => {}, onClose: (_link, reason) => closes.push(reason) })
    }
    // Through a tap that swallows the end of the first connection, as a vanished machine does.
    const swallowed: Socket[] = []
    const swallow = createServer({ allowHalfOpen: true }, (near) => {
      const far = connect({ port: portOf(host), host: '127.0.0.1', allowHalfOpen: true })
      swallowed.push(near, far)
      near.on('data', (bytes) => far.write(bytes)).on('error', () => {})
      far.on('data', (bytes) => near.write(bytes)).on('error', () => {})
    })
    await new Promise<void>((resolve) => swallow.listen(0, '127.0.0.1', resolve))
    const bound = swallow.address()
    assert.ok(typeof bound === 'object' && bound !== null)
    const first = await startHost({ listen: [], seed })
    await first.dial(host.id, [`/ip4/127.0.0.1/tcp/${bound.port}`], { signal: NEVER })
    await until(() => links.length === 1, 'the first link')
    await first.close()
    const second = await startHost({ listen: [], seed })
    await second.dial(host.id, host.addresses, { signal: NEVER })
    await until(() => links.length === 2 && closes.length === 1, 'the second link')
    assert.deepEqual([links[0]!.open, links[1]!.open], [false, true])
    for (const socket of swallowed) socket.destroy()
    swallow.close()
  })

  test('a receiver that throws costs its link, not the program', { timeout: 60_000 }, async () => {
    let faults = 0
    const host = await startHost({ onFault: () => faults++ })
    const dialler = await startHost({ listen: [] })
    const closes: string[] = []
    host.onInbound = (link) => {
      const onClose = (_link: Link, reason: string) => void closes.push(reason)
      const onCells = () => {
        throw new Error('a bug')
      }
      link.start({ onCells, onTurnEnd: () => {}, onClose })
    }
    const link = await dialler.dial(host.id, host.addresses, { signal: NEVER })
    const here = new Recorder()
    link.start(here)
    new NumberedLane(link, 2).push()
    link.flush()
    await until(() => closes.length === 1 && here.closes.length === 1, 'both ends to close')
    assert.deepEqual([closes, here.closes, faults], [['error'], ['remote'], 1])
  })

  test('a peer that takes nothing for three sweeps loses its link', { timeout: 60_000 }, async () => {
    const sweeps: (() => void)[] = []
    const clock = {
      ...systemClock,
      // The sweep is the one timer of 20 s: held back, and fired by the test.
      setTimer: (ms: number, fire: () => void) => {
        if (ms !== 20_000) return systemClock.setTimer(ms, fire)
        sweeps.push(fire)
        return { cancel: () => {} }
      },
    }
    const log = { debug: () => {}, error: () => {} }
    const host = await createLibp2pHost({ signingSeed: rng.bytes(32), listen: [], clock, log })
    await host.start()
    opened.push(host)
    const peer = await startHost()
    let far: Link | null = null
    peer.onInbound = (link) => {
      far = link
    }
    const link = await host.dial(peer.id, peer.addresses, { signal: NEVER })
    const here = new Recorder()
    link.start(here)
    const sweep = () => sweeps.shift()?.()
    // Idle is not stalled.
    for (let times = 0; times < 5; times++) sweep()
    assert.equal(link.open, true)
    const lane = new NumberedLane(link, 2)
    for (let idle = 0; idle < 50; idle++) {
      while (lane.push()) idle = 0
      link.flush()
      await turn()
    }
    for (let times = 0; times < 3; times++) {
      assert.equal(link.open, true)
      sweep()
    }
    sweep()
    await until(() => here.closes.length === 1, 'the close')
    assert.deepEqual(here.closes, ['timeout'])
    assert.notEqual(far, null)
  })

  test('a port that is taken is a LINK_LISTEN, an address that is none a CONFIG_BAD', { timeout: 60_000 }, async () => {
    const host = await startHost()
    const taken = startHost({ listen: [`/ip4/127.0.0.1/tcp/${portOf(host)}`] })
    await assert.rejects(taken, (error) => isOverlayError(error, 'LINK_LISTEN'))
    for (const address of ['/ip4/127.0.0.1/udp/1', 'localhost:80', '/ip4/127.0.0.1/tcp/0/tls/ws']) {
      await assert.rejects(startHost({ listen: [address] }), (error) => isOverlayError(error, 'CONFIG_BAD'))
    }
  })

  test('close leaves no socket, no listener and no timer that holds the process', { timeout: 60_000 }, async () => {
    const holding = () => process.getActiveResourcesInfo().filter((kind) => /TCP|TLS|Timeout|Immediate/.test(kind))
    await until(() => holding().filter((kind) => kind === 'Timeout').length <= 1, 'earlier tests to end')
    const before = holding().sort()
    for (const suffix of ['', '/ws']) {
      const listen = [`/ip4/127.0.0.1/tcp/0${suffix}`]
      const [a, b] = [await startHost({ listen }), await startHost({ listen })]
      b.onInbound = (link) => link.start(new Recorder())
      const link = await a.dial(b.id, b.addresses, { signal: NEVER })
      link.start(new Recorder())
      link.lane(2 as CircuitId).push(Command.PAD, new Uint8Array(CELL_BYTES - 5))
      link.flush()
      // One silent stranger as well.
      const stranger = connect(portOf(b), '127.0.0.1')
      stranger.on('error', () => {})
      await new Promise<void>((resolve) => stranger.once('connect', () => resolve()))
      const since = performance.now()
      await Promise.all([a.close(), b.close()])
      assert.ok(performance.now() - since < 3_000, 'the close waits for a stranger')
      await until(() => stranger.destroyed || stranger.readableEnded || stranger.closed, 'the stranger to be dropped')
      stranger.destroy()
    }
    // libp2p leaves a one-second debounce timer behind; nothing else.
    await until(() => holding().length <= before.length, 'everything to be gone')
  })
})
