/**
 * What one link costs between two processes, both ends counted: plain TCP, `node:tls` with several record sizes and both ways of reading,
 * and our TLS and WebSocket links in both directions, all in one run, each also as a ratio to plain TCP and to `node:tls`.
 * `node test/bench/link.ts [--mib N] [--rounds N] [--only PATTERN]`; best of the rounds, as other load on the machine only adds.
 *
 * Our links are clocked as loops clock them: the receiver returns one cell for each `PER_ACK` that came, the sender keeps `WINDOW_CELLS`
 * in flight. Raw sockets get 64 KiB writes, at most 256 KiB ahead of the kernel.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { connect, createServer, type Socket } from 'node:net'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { BODY_BYTES, CELL_BYTES, type CircuitId, Command } from '../../src/cell/index.ts'
import type { Link, LinkReceiver } from '../../src/link/index.ts'
import { readDirectly } from '../../src/link/libp2p/direct-read.ts'
import { identityFromSeed } from '../../src/link/libp2p/identity.ts'
import { createLibp2pHost } from '../../src/link/libp2p/index.ts'
import { handshakeOptions, tlsContext } from '../../src/link/libp2p/tls-identity.ts'
import { systemClock, systemRng } from '../../src/runtime/index.ts'

const WRITE_BYTES = 64 * 1024
const AHEAD_BYTES = 4 * WRITE_BYTES
const WINDOW_CELLS = 512
const PER_ACK = 128
const MIB = 2 ** 20
const GIB = 2 ** 30

interface Mode {
  readonly name: string
  readonly carrier: 'tcp' | 'tls' | 'link-tls' | 'link-ws'
  /** TLS record size for raw sockets. */
  readonly fragment?: number
  readonly direct?: boolean
  /** Who sends. */
  readonly sender: 'dialler' | 'listener'
  /** Slow modes move less. */
  readonly share?: number
}

const MODES: readonly Mode[] = [
  { name: 'TCP, 64 KiB writes', carrier: 'tcp', sender: 'dialler' },
  { name: 'node:tls, records of 16 KiB, data events', carrier: 'tls', fragment: 16_384, direct: false, sender: 'dialler' },
  { name: 'node:tls, records of 1024, data events', carrier: 'tls', fragment: 1024, direct: false, sender: 'dialler' },
  { name: 'node:tls, records of 1024, read directly', carrier: 'tls', fragment: 1024, direct: true, sender: 'dialler' },
  { name: 'node:tls, records of 2048, data events', carrier: 'tls', fragment: 2048, direct: false, sender: 'dialler' },
  { name: 'node:tls, records of 2048, read directly', carrier: 'tls', fragment: 2048, direct: true, sender: 'dialler' },
  { name: 'node:tls, records of 4096, data events', carrier: 'tls', fragment: 4096, direct: false, sender: 'dialler' },
  { name: 'node:tls, records of 4096, read directly', carrier: 'tls', fragment: 4096, direct: true, sender: 'dialler' },
  { name: 'Gyre link, TLS, data events', carrier: 'link-tls', direct: false, sender: 'dialler' },
  { name: 'Gyre link, TLS, dialler sends', carrier: 'link-tls', sender: 'dialler' },
  { name: 'Gyre link, TLS, listener sends', carrier: 'link-tls', sender: 'listener' },
  { name: 'Gyre link, WebSocket, dialler sends', carrier: 'link-ws', sender: 'dialler', share: 0.25 },
  { name: 'Gyre link, WebSocket, listener sends', carrier: 'link-ws', sender: 'listener', share: 0.25 },
]

/** What the processes say to each other through the parent. */
interface Order {
  readonly role: 'dialler' | 'listener'
  readonly mode: Mode
  readonly bytes: number
  readonly to?: string
}
interface Spent {
  readonly cpuSeconds: number
  readonly seconds: number
}
type Report = { readonly at: string } | Spent

// ---- In the processes.

function tell(report: Report): void {
  process.send?.(report)
}

/** Starts counting; the function returned reports. */
function meter(): () => void {
  const sinceMs = performance.now()
  const cpu = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(cpu)
    tell({ cpuSeconds: (user + system) / 1e6, seconds: (performance.now() - sinceMs) / 1000 })
  }
}

function sendRaw(socket: Socket, { mode, bytes }: Order): void {
  if (mode.fragment !== undefined && socket instanceof TLSSocket) socket.setMaxSendFragment(mode.fragment)
  socket.setNoDelay(true)
  const done = meter()
  const blocks = Array.from({ length: 8 }, () => Buffer.from(systemRng.bytes(WRITE_BYTES)))
  let sent = 0
  let unfinished = 0
  const onWritten = () => {
    unfinished -= WRITE_BYTES
    pump()
  }
  const pump = () => {
    while (unfinished < AHEAD_BYTES && sent < bytes) {
      socket.write(blocks[(sent / WRITE_BYTES) % blocks.length]!, onWritten)
      unfinished += WRITE_BYTES
      sent += WRITE_BYTES
    }
  }
  socket.once('data', done)
  pump()
}

function receiveRaw(socket: Socket, { mode, bytes }: Order): void {
  const inbox = new Uint8Array(WRITE_BYTES)
  let fill = 0
  let got = 0
  let done = () => {}
  const onBytes = (chunk: Uint8Array) => {
    if (got === 0) done = meter()
    if (fill + chunk.length > inbox.length) fill = 0
    inbox.set(chunk, fill)
    fill += chunk.length
    got += chunk.length
    if (got < bytes) return
    socket.write('x')
    done()
  }
  if (mode.carrier === 'tls') readDirectly(socket, onBytes, { direct: mode.direct === true })
  else socket.on('data', onBytes)
}

async function raw(order: Order): Promise<void> {
  const { mode, role, to } = order
  const context = mode.carrier === 'tls' ? await tlsContext(await identityFromSeed(systemRng.bytes(32))) : null
  const serve = (socket: Socket) => {
    socket.on('error', () => socket.destroy())
    if (mode.sender === role) sendRaw(socket, order)
    else receiveRaw(socket, order)
  }
  if (role === 'dialler') {
    const port = Number(to)
    const socket =
      context === null ? connect(port, '127.0.0.1') : connectTls({ port, host: '127.0.0.1', ...handshakeOptions(context) })
    socket.once(context === null ? 'connect' : 'secureConnect', () => serve(socket))
    return
  }
  const server = createServer((socket) => {
    if (context === null) return serve(socket)
    const secured = new TLSSocket(socket, { isServer: true, ...handshakeOptions(context) })
    secured.once('secure', () => serve(secured))
  })
  server.listen(0, '127.0.0.1', () => {
    const bound = server.address()
    if (typeof bound === 'object' && bound !== null) tell({ at: String(bound.port) })
  })
}

/** Sends `bytes` of cells in a window, or takes and acknowledges them. */
class BenchReceiver implements LinkReceiver {
  readonly #link: Link
  readonly #lane
  readonly #cells: number
  readonly #sends: boolean
  readonly #body = systemRng.bytes(BODY_BYTES)
  #done: () => void = () => {}
  #started = false
  #sent = 0
  #acked = 0
  #got = 0
  #owed = 0

  constructor(link: Link, { mode, role, bytes }: Order) {
    this.#link = link
    this.#lane = link.lane((link.even ? 2 : 1) as CircuitId)
    this.#cells = Math.floor(bytes / CELL_BYTES)
    this.#sends = mode.sender === role
  }

  begin(): void {
    this.#link.start(this)
    if (!this.#sends) return
    this.#done = meter()
    this.#send()
  }

  onCells(_link: Link, _cells: Uint8Array, count: number): void {
    if (this.#sends) {
      this.#acked += PER_ACK * count
      return
    }
    if (!this.#started) {
      this.#started = true
      this.#done = meter()
    }
    this.#got += count
    for (this.#owed += count; this.#owed >= PER_ACK; this.#owed -= PER_ACK) this.#lane.push(Command.CIRCUIT, this.#body)
    if (this.#got === this.#cells) this.#done()
  }

  onTurnEnd(): void {
    if (this.#sends) this.#send()
    else this.#link.flush()
  }

  onClose(): void {}

  #send(): void {
    while (this.#sent < this.#cells && this.#sent - this.#acked < WINDOW_CELLS) {
      if (!this.#lane.push(Command.CIRCUIT, this.#body)) throw new Error('the link is full')
      this.#sent++
    }
    this.#link.flush()
    if (this.#acked >= this.#cells) this.#done()
  }
}

async function overLink(order: Order): Promise<void> {
  const { mode, role, to } = order
  const listen = role === 'listener' ? [`/ip4/127.0.0.1/tcp/0${mode.carrier === 'link-ws' ? '/ws' : ''}`] : []
  const log = { debug: () => {}, error: (details: object) => console.error(details) }
  const options = { signingSeed: systemRng.bytes(32), listen, clock: systemClock, log, directRead: mode.direct !== false }
  const host = await createLibp2pHost(options)
  host.onInbound = (link) => new BenchReceiver(link, order).begin()
  await host.start()
  if (role === 'listener') return tell({ at: JSON.stringify([host.id, host.addresses]) })
  const [id, addresses] = JSON.parse(to ?? '[]') as [typeof host.id, string[]]
  new BenchReceiver(await host.dial(id, addresses, { signal: new AbortController().signal }), order).begin()
}

// ---- In the parent.

interface Figures {
  readonly megabytesPerSec: number
  /** Both ends. */
  readonly cpuPerGib: number
  /** Of it, the sender's. */
  readonly sendingPerGib: number
}

function measure(mode: Mode, mib: number): Promise<Figures> {
  // Whole blocks and whole acknowledgements.
  const bytes = Math.ceil((mib * MIB * (mode.share ?? 1)) / WRITE_BYTES) * WRITE_BYTES
  const { promise, resolve } = Promise.withResolvers<Figures>()
  const children: ChildProcess[] = []
  const done: { dialler?: Spent; listener?: Spent } = {}
  const begin = (order: Order) => {
    const child = fork(fileURLToPath(import.meta.url), ['--child'], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    children.push(child)
    child.on('message', (report: Report) => {
      if ('at' in report) return begin({ role: 'dialler', mode, bytes, to: report.at })
      done[order.role] = report
      const { dialler, listener } = done
      if (dialler === undefined || listener === undefined) return
      for (const other of children) other.kill()
      const cpuSeconds = dialler.cpuSeconds + listener.cpuSeconds
      const seconds = Math.max(dialler.seconds, listener.seconds)
      const sender = mode.sender === 'dialler' ? dialler : listener
      const perGib = (spent: number) => (spent * GIB) / bytes
      resolve({ megabytesPerSec: bytes / 1e6 / seconds, cpuPerGib: perGib(cpuSeconds), sendingPerGib: perGib(sender.cpuSeconds) })
    })
    child.send(order)
  }
  begin({ role: 'listener', mode, bytes })
  return promise
}

async function main(mib: number, rounds: number, only: RegExp): Promise<void> {
  const modes = MODES.filter(({ name }, at) => at < 2 || only.test(name))
  const best = new Map<Mode, Figures>()
  for (let round = 0; round < rounds; round++) {
    for (const mode of modes) {
      const figures = await measure(mode, mib)
      const before = best.get(mode)
      const megabytesPerSec = Math.max(figures.megabytesPerSec, before?.megabytesPerSec ?? 0)
      best.set(mode, { ...(before !== undefined && before.cpuPerGib < figures.cpuPerGib ? before : figures), megabytesPerSec })
    }
  }
  const tcp = best.get(MODES[0]!)!
  const tls = best.get(MODES[1]!)!
  console.log(`${'one link, two processes'.padEnd(44)}   MB/s  CPU-s/GiB  (sender)  MB/s to TCP  CPU to TCP  CPU to node:tls`)
  for (const [{ name }, figures] of best) {
    const cells = [
      figures.megabytesPerSec.toFixed(0).padStart(6),
      figures.cpuPerGib.toFixed(2).padStart(10),
      figures.sendingPerGib.toFixed(2).padStart(9),
      (figures.megabytesPerSec / tcp.megabytesPerSec).toFixed(2).padStart(12),
      (figures.cpuPerGib / tcp.cpuPerGib).toFixed(2).padStart(11),
      (figures.cpuPerGib / tls.cpuPerGib).toFixed(2).padStart(16),
    ]
    console.log(`${name.padEnd(44)} ${cells.join(' ')}`)
  }
}

const { values } = parseArgs({
  options: {
    child: { type: 'boolean' },
    mib: { type: 'string', default: '256' },
    rounds: { type: 'string', default: '2' },
    only: { type: 'string', default: '' },
  },
})
if (values.child === true) {
  process.once('message', (order: Order) => {
    const run = order.mode.carrier.startsWith('link') ? overLink(order) : raw(order)
    run.catch((error: unknown) => {
      console.error(error)
      process.exit(1)
    })
  })
} else {
  await main(Number(values.mib), Number(values.rounds), new RegExp(values.only))
}
