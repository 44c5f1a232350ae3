/**
 * Hostile peers below the cell layer: strangers that send mutated handshakes, and authenticated peers that send any bytes in any pieces and
 * break off anywhere. A link hands up whole cells only, closes with `protocol` when a stream ends within one, and nothing reaches the
 * process or another link. Seeded; `FUZZ_SEED` and `FUZZ_RUNS` choose other runs.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { CELL_BYTES } from '../../src/cell/index.ts'
import type { Link, LinkHost, LinkReceiver } from '../../src/link/index.ts'
import { identityFromSeed } from '../../src/link/libp2p/identity.ts'
import { createLibp2pHost, parseAddress } from '../../src/link/libp2p/index.ts'
import { handshakeOptions, tlsContext } from '../../src/link/libp2p/tls-identity.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { counted } from '../support/fuzzing.ts'
import { seededRng } from '../support/seeded-rng.ts'

const SEED = process.env.FUZZ_SEED ?? '1'
const RUNS = Number(process.env.FUZZ_RUNS ?? 40)
const NEVER = new AbortController().signal

class Tally implements LinkReceiver {
  bytes: number[] = []
  reason = ''
  onCells(_link: Link, cells: Uint8Array, count: number): void {
    assert.equal(cells.length, count * CELL_BYTES)
    for (const byte of cells) this.bytes.push(byte)
  }
  onTurnEnd(): void {}
  onClose(_link: Link, reason: string): void {
    assert.equal(this.reason, '')
    this.reason = reason
  }
}

async function startHost(suffix: string, seed: Uint8Array): Promise<LinkHost> {
  const log = { debug: () => {}, error: (details: object) => assert.fail(`seed ${SEED}: ${JSON.stringify(details)}`) }
  const listen = [`/ip4/127.0.0.1/tcp/0${suffix}`]
  const host = await createLibp2pHost({ signingSeed: seed, listen, clock: systemClock, log, limits: { handshakeTimeoutMs: 400 } })
  await host.start()
  return host
}

async function until(done: () => boolean): Promise<void> {
  const end = performance.now() + 20_000
  while (!done()) {
    if (performance.now() > end) throw new Error(`seed ${SEED}: waited in vain`)
    await turn()
  }
}

test('an authenticated peer that sends any bytes costs its own link only', { timeout: 120_000 }, async () => {
  const rng = seededRng(SEED)
  const host = await startHost('', rng.bytes(32))
  const { port } = parseAddress(host.addresses[0]!)!
  const tallies: Tally[] = []
  host.onInbound = (link) => {
    const tally = new Tally()
    tallies.push(tally)
    link.start(tally)
  }
  const honest = await startHost('', rng.bytes(32))
  const bystander = await honest.dial(host.id, host.addresses, { signal: NEVER })
  await until(() => tallies.length === 1)
  for (let run = 0; run < RUNS; run++) {
    const context = await tlsContext(await identityFromSeed(rng.bytes(32)))
    const socket = connectTls({ host: '127.0.0.1', port, ...handshakeOptions(context) })
    socket.on('error', () => {})
    await once(socket, 'secureConnect')
    counted(1)
    const sent: number[] = []
    for (let piece = rng.below(12); piece >= 0; piece--) {
      const length = [0, 1, CELL_BYTES - 1, CELL_BYTES, CELL_BYTES + 1, rng.below(3 * CELL_BYTES), rng.below(40_000)][
        rng.below(7)
      ]!
      const bytes = rng.bytes(length)
      for (const byte of bytes) sent.push(byte)
      if (length > 0) socket.write(bytes)
      if (rng.below(3) === 0) await turn()
    }
    if (run % 4 === 0) for (; sent.length % CELL_BYTES !== 0; sent.push(7)) socket.write(Uint8Array.of(7))
    socket.end()
    await until(() => tallies.length === run + 2 && tallies[run + 1]!.reason !== '')
    const tally = tallies[run + 1]!
    const whole = sent.length - (sent.length % CELL_BYTES)
    assert.deepEqual(
      [tally.bytes.length, tally.reason],
      [whole, whole === sent.length ? 'remote' : 'protocol'],
      `seed ${SEED}, run ${run}`,
    )
    assert.equal(Buffer.compare(Buffer.from(tally.bytes), Buffer.from(sent.slice(0, whole))), 0)
    tally.bytes = []
    socket.destroy()
  }
  assert.equal(bystander.open, true)
  await Promise.all([host.close(), honest.close()])
})

test('strangers with mutated handshakes get nothing, and honest peers their links', { timeout: 120_000 }, async () => {
  const rng = seededRng(`${SEED} strangers`)
  for (const suffix of ['', '/ws']) {
    const host = await startHost(suffix, rng.bytes(32))
    const { port } = parseAddress(host.addresses[0]!)!
    let links = 0
    host.onInbound = (link) => {
      links++
      link.start(new Tally())
    }
    const hello = await firstFlight(rng.bytes(32))
    const upgrade = Buffer.from(
      'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    )
    const gone: Promise<unknown>[] = []
    for (let run = 0; run < RUNS; run++) {
      const bytes = Buffer.from(rng.below(2) === 0 ? hello : Buffer.concat([upgrade, rng.bytes(rng.below(400))]))
      for (let flips = rng.below(6); flips > 0; flips--) bytes[rng.below(bytes.length)] = rng.below(256)
      counted(1)
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      socket.on('data', () => {})
      socket.write(bytes.subarray(0, rng.below(4) === 0 ? rng.below(bytes.length) : bytes.length))
      if (rng.below(4) === 0) socket.end()
      gone.push(once(socket, 'close'))
    }
    await Promise.all(gone)
    assert.equal(links, 0, `seed ${SEED}`)
    const honest = await startHost('', rng.bytes(32))
    const link = await honest.dial(host.id, host.addresses, { signal: NEVER })
    assert.equal(link.open, true)
    await Promise.all([host.close(), honest.close()])
  }
})

/** The ClientHello that our TLS sends. */
async function firstFlight(seed: Uint8Array): Promise<Buffer> {
  const { createServer } = await import('node:net')
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const bound = server.address()
  assert.ok(typeof bound === 'object' && bound !== null)
  const context = await tlsContext(await identityFromSeed(seed))
  const arrived = once(server, 'connection')
  const socket = connectTls({ host: '127.0.0.1', port: bound.port, ...handshakeOptions(context) })
  socket.on('error', () => {})
  const [accepted] = await arrived
  const [bytes] = await once(accepted, 'data')
  accepted.destroy()
  socket.destroy()
  server.close()
  return bytes
}
