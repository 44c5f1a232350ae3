/**
 * One process of a ring that forwards 2048-byte cells over plain sockets, without any cipher of ours: the floor that the loop is measured
 * against. Started by `ring.ts` with IPC. Modes: `tcp`, `tls` (1.3, one record per cell).
 */
import { connect as connectTcp, createServer as createTcpServer, type Socket } from 'node:net'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { CELL_BYTES } from '../../src/cell/index.ts'
import { TURN_CELLS } from '../../src/link/index.ts'
import { identityFromSeed } from '../../src/link/libp2p/identity.ts'
import { handshakeOptions, prepareForCells, tlsContext } from '../../src/link/libp2p/tls-identity.ts'
import { systemRng } from '../../src/runtime/index.ts'

interface Start {
  readonly kind: 'start'
  readonly mode: 'tcp' | 'tls'
}
interface Join {
  readonly kind: 'join'
  readonly port: number
}
interface Run {
  readonly kind: 'run'
  readonly cells: number
  readonly window: number
}

const tls = handshakeOptions(await tlsContext(await identityFromSeed(systemRng.bytes(32))))

let mode: Start['mode'] = 'tcp'
let next: Socket | TLSSocket
/** Set in the origin: what to do with a cell that came home. */
let onHome: ((cells: number) => void) | null = null

function fail(error: Error): void {
  console.error(`ring member: ${error.message}`)
  process.exit(1)
}

/** Whole cells only, in bounded turns of the size that links use. */
function forward(from: Socket): void {
  let held = Buffer.alloc(0)
  from.on('data', (chunk) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    const whole = held.length - (held.length % CELL_BYTES)
    if (whole === 0) return
    const cells = held.subarray(0, whole)
    held = held.subarray(whole)
    if (onHome !== null) return onHome(whole / CELL_BYTES)
    for (let at = 0; at < whole; at += TURN_CELLS * CELL_BYTES)
      next.write(cells.subarray(at, Math.min(whole, at + TURN_CELLS * CELL_BYTES)))
  })
  from.on('error', fail)
}

function run({ cells, window }: Run): void {
  const batch = Buffer.alloc(TURN_CELLS * CELL_BYTES, 7)
  let sent = 0
  let home = 0
  const startedMs = performance.now()
  const pump = () => {
    for (;;) {
      const count = Math.min(TURN_CELLS, window - (sent - home), cells - sent)
      if (count <= 0) return
      sent += count
      next.write(batch.subarray(0, count * CELL_BYTES))
    }
  }
  onHome = (count) => {
    home += count
    if (home === cells) {
      onHome = null
      process.send?.({ kind: 'done', ms: performance.now() - startedMs })
    } else pump()
  }
  pump()
}

process.on('message', (message: Start | Join | Run | { readonly kind: 'cpu' }) => {
  if (message.kind === 'start') {
    mode = message.mode
    const server = createTcpServer((socket) => {
      socket.setNoDelay(true)
      if (mode === 'tcp') return forward(socket)
      const secured = new TLSSocket(socket, { ...tls, isServer: true })
      secured.once('secure', () => prepareForCells(secured))
      forward(secured)
    })
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      process.send?.({ kind: 'listening', port: typeof address === 'object' ? address?.port : 0 })
    })
  } else if (message.kind === 'join') {
    const joined = () => {
      if (next instanceof TLSSocket) prepareForCells(next)
      else next.setNoDelay(true)
      process.send?.({ kind: 'joined' })
    }
    next =
      mode === 'tcp'
        ? connectTcp(message.port, '127.0.0.1', joined)
        : connectTls({ ...tls, port: message.port, host: '127.0.0.1' }, joined)
    next.on('error', fail)
  } else if (message.kind === 'run') {
    run(message)
  } else if (message.kind === 'cpu') {
    const { user, system } = process.cpuUsage()
    process.send?.({ kind: 'cpu', seconds: (user + system) / 1e6 })
  }
})
process.on('disconnect', () => process.exit(0))
