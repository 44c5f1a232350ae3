/**
 * Whole nodes and a hostile neighbour. Six nodes run as they do for their users (in one process, over real links); hostile ones greet them properly, with
 * identities, proofs of work and descriptors that are right, and then say whatever keeps the framing: cells of all commands under live ids and
 * others, noise, replays, set-ups that are right, nearly right or old, control messages that are true, invented or changed, and breaks.
 *
 * Meanwhile the others publish and fetch. Nothing wrong is ever read, no turn of the event loop takes a second of the processor, nothing is logged
 * as a fault; afterwards everything is as before, memory too. Seeded, but for what time decides.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import { type RunningNode, startNode } from '../../client/node.ts'
import { concat, nodeIdOf, type UnixMs } from '../../src/bytes/index.ts'
import { BODY_BYTES, CELL_BYTES, CELL_HEADER_BYTES, Command, circuitIdAt, commandAt, writeHeader } from '../../src/cell/index.ts'
import { OnionKeyRing } from '../../src/circuit/onion-keys.ts'
import { buildSetUp, setUpCells, swiftPlan } from '../../src/circuit/setup/index.ts'
import { loadConfig } from '../../src/config/index.ts'
import { findWork, signingKey } from '../../src/crypto/index.ts'
import {
  ControlReassembler,
  DESCRIPTOR_WORK_BITS,
  DESCRIPTOR_WORK_LABEL,
  makeDescriptor,
  networkIdOf,
  toControlBodies,
  workBinding,
} from '../../src/directory/index.ts'
import { isOverlayError } from '../../src/errors/index.ts'
import { identityFromSeed } from '../../src/link/libp2p/identity.ts'
import { parseAddress } from '../../src/link/libp2p/index.ts'
import { handshakeOptions, prepareForCells, tlsContext } from '../../src/link/libp2p/tls-identity.ts'
import type { Logger } from '../../src/log/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { type ControlMessage, encodeControl, parseControl } from '../../src/wire/index.ts'
import { counted, fuzzSeed, INPUT_CPU_MS_MAX, LONG_MS } from '../support/fuzzing.ts'
import { mutateBytes } from '../support/mutate.ts'
import { type SeededRng, seededRng } from '../support/seeded-rng.ts'

const FOR_MS = Math.max(6_000, 4 * (LONG_MS ?? 0))
const NODES = 6
const HOSTILE = 3
const NETWORK = 'fuzz'
/** More than this is left of no attack: what the nodes themselves keep of new content and loops is a tenth of it. */
const GROWTH_BYTES = 24 * 2 ** 20
const SEEN_MAX = 400
const TALK_MS = 250
const { signal } = new AbortController()
const faults: string[] = []

const log: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: (text, fields) => void faults.push(`${text} ${JSON.stringify(fields)}`),
  child: () => log,
}

/** One hostile identity: right in all that is looked at before it is believed. */
class Hostile {
  readonly #rng: SeededRng
  readonly #seed: Uint8Array
  readonly #ring: OnionKeyRing
  readonly #nodes: readonly RunningNode[]
  readonly #seen: Uint8Array[] = []
  readonly #live = new Set<number>()
  readonly #packets: Uint8Array[] = []
  readonly #heard: Uint8Array[] = []
  #work = new Uint8Array(8)
  #socket: TLSSocket | null = null
  #lately = 0
  #saidAt = 0
  /** Cells sent, links made, set-ups that were right. */
  readonly sent = { cells: 0, links: 0, setUps: 0 }

  constructor(rng: SeededRng, nodes: readonly RunningNode[]) {
    this.#rng = rng
    this.#seed = rng.bytes(32)
    this.#ring = new OnionKeyRing({ clock: systemClock, rng })
    this.#nodes = nodes
  }

  async prepare(): Promise<void> {
    const { publicKey } = signingKey(this.#seed)
    const binding = workBinding(networkIdOf(NETWORK), publicKey)
    this.#work = new Uint8Array(
      await findWork(DESCRIPTOR_WORK_LABEL, binding, DESCRIPTOR_WORK_BITS, { clock: systemClock, signal }),
    )
  }

  /** A link to `node`, greeted as a neighbour. `false`: it was refused. */
  async greet(node: RunningNode): Promise<boolean> {
    this.close()
    const { port } = parseAddress(node.addresses[0]!)!
    const socket = connect({ host: '127.0.0.1', port, ...handshakeOptions(await tlsContext(await identityFromSeed(this.#seed))) })
    socket.on('error', () => {})
    const over = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    await Promise.race([once(socket, 'secureConnect'), over])
    if (socket.destroyed) return false
    prepareForCells(socket)
    const welcomed = Promise.withResolvers<void>()
    this.#listen(socket, welcomed.resolve)
    this.#socket = socket
    this.#live.clear()
    this.say({ kind: 'hello', version: 1, network: networkIdOf(NETWORK), purpose: 'neighbour', descriptor: this.#descriptor() })
    await Promise.race([welcomed.promise, over, sleep(5_000)])
    this.sent.links++
    return !socket.destroyed
  }

  get linked(): boolean {
    return this.#socket !== null && !this.#socket.destroyed
  }

  #listen(socket: TLSSocket, welcomed: () => void): void {
    const control = new ControlReassembler()
    let rest = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      for (; rest.length >= CELL_BYTES; rest = rest.subarray(CELL_BYTES)) {
        const cell = new Uint8Array(rest.subarray(0, CELL_BYTES))
        if (commandAt(cell, 0) === Command.CONTROL) {
          const message = control.take(cell.subarray(CELL_HEADER_BYTES))
          if (typeof message !== 'object') continue
          if (parseControl(message)?.kind === 'welcome') welcomed()
          remember(this.#heard, message, this.#rng)
          continue
        }
        this.#live.add(circuitIdAt(cell, 0))
        remember(this.#seen, cell, this.#rng)
      }
    })
  }

  #descriptor(): Uint8Array {
    // Each is later than the one before, as the rules want it.
    const publishedMs = Math.max(this.#lately + 1, Date.now()) as UnixMs
    this.#lately = publishedMs
    const onion = this.#ring.published
    const neighbours = this.#nodes.map(({ face }) => face.status().id)
    const claims = { addresses: [], onion, capacityClass: 7, storeQuotaBytes: 2 ** 40, publishedMs, neighbours, family: [] }
    return makeDescriptor({ ...claims, work: this.#work, firstSeenDay: 0 }, networkIdOf(NETWORK), signingKey(this.#seed))
  }

  say(message: ControlMessage): void {
    this.#control(encodeControl(message))
  }

  #control(message: Uint8Array): void {
    for (const body of toControlBodies(message)) this.#cell(0, Command.CONTROL, body)
  }

  #cell(id: number, command: number, body: Uint8Array): void {
    if (!this.linked || this.#socket!.writableLength > 2 ** 20) return
    const cell = new Uint8Array(CELL_BYTES)
    writeHeader(cell, 0, id as never, command as never)
    cell.set(body.subarray(0, BODY_BYTES), CELL_HEADER_BYTES)
    this.#socket!.write(cell)
    this.sent.cells++
    counted(1)
  }

  /** One hostile act. */
  act(): void {
    const rng = this.#rng
    const live = [...this.#live]
    const id = live.length > 0 && rng.below(3) > 0 ? live[rng.below(live.length)]! : rng.below(2 ** 32)
    const known = this.#seen.length > 0 ? this.#seen[rng.below(this.#seen.length)]! : null
    if (live.length > 200) this.#live.clear()
    switch (rng.below(10)) {
      case 0:
        return this.#cell(id, rng.below(4), rng.bytes(BODY_BYTES))
      case 1:
        return this.#cell(id, Command.CIRCUIT, new Uint8Array(BODY_BYTES))
      case 2:
        return this.#cell(id, Command.DESTROY, rng.below(2) === 0 ? new Uint8Array(BODY_BYTES) : rng.bytes(BODY_BYTES))
      case 3:
      case 4:
        // What came, once more: as it was, or with one bit changed, or under another id.
        if (known === null) return this.#cell(0, Command.PAD, rng.bytes(BODY_BYTES))
        return this.#cell(
          rng.below(2) === 0 ? circuitIdAt(known, 0) : id,
          commandAt(known, 0),
          bent(known.subarray(CELL_HEADER_BYTES), rng),
        )
      case 5: {
        const body = rng.bytes(BODY_BYTES)
        body[0] = rng.below(9)
        if (rng.below(2) === 0) body.fill(0, 1912)
        return this.#cell(id, Command.SETUP, body)
      }
      case 6:
        return this.#setUp(id)
      case 7: {
        const packet = this.#packets[rng.below(this.#packets.length + 1)]
        if (packet !== undefined) this.#packet(id, rng.below(2) === 0 ? packet : bent(packet, rng))
        return
      }
      case 8:
        return this.#talk()
      default:
        return this.#cell(id, Command.CIRCUIT, rng.bytes(BODY_BYTES))
    }
  }

  /** A control message, at a pace at which no link is closed for too many. */
  #talk(): void {
    const rng = this.#rng
    if (performance.now() - this.#saidAt < TALK_MS) return
    this.#saidAt = performance.now()
    switch (rng.below(6)) {
      case 0:
        return this.say({ kind: 'digest', buckets: rng.bytes(2048) })
      case 1:
        return this.say({ kind: 'want', hashes: rng.bytes(32 * (1 + rng.below(64))) })
      case 2: {
        const buckets = Uint8Array.from(new Set(rng.bytes(1 + rng.below(200)))).sort()
        return this.say({ kind: 'listing', buckets, hashes: rng.bytes(32 * rng.below(1024)) })
      }
      case 3: {
        const known = this.#nodes.flatMap(({ directory }) => [...directory.signed()])
        return this.say({ kind: 'descriptors', descriptors: [this.#descriptor(), known[rng.below(known.length)]!] })
      }
      case 4:
        if (this.#heard.length > 0) this.#control(this.#heard[rng.below(this.#heard.length)]!)
        return
      default: {
        // A breach, for which the link is closed.
        if (rng.below(8) > 0 || this.#heard.length === 0) return
        const lie = { kind: 'descriptors', descriptors: [mutated([this.#descriptor()], rng).slice(0, 4_096)] } as const
        if (rng.below(2) === 0 && lie.descriptors[0].length > 0) return this.say(lie)
        return this.#control(mutated(this.#heard, rng))
      }
    }
  }

  /** A set-up that is right: through nodes that are there, and back. */
  #setUp(id: number): void {
    if (this.#rng.below(6) > 0) return
    const view = this.#nodes[0]!.directory
    const self = nodeIdOf(signingKey(this.#seed).publicKey)
    const members = this.#nodes
      .map(({ face }) => view.get(face.status().id))
      .filter((found) => found !== undefined)
      .map(({ id: node, onion }) => ({ id: node, onion }))
      .slice(0, 5)
    if (members.length < 5) return
    const claim = (kid: number, ephemeral: Uint8Array) => this.#ring.claim(kid, ephemeral)
    const plan = swiftPlan(systemClock.unixMs())
    const own = { id: self, onion: this.#ring.published }
    const { packet } = buildSetUp({ network: networkIdOf(NETWORK), members, self: own, claim, plan, rng: this.#rng })
    remember(this.#packets, packet, this.#rng, 20)
    this.sent.setUps++
    this.#packet(id, packet)
  }

  #packet(id: number, packet: Uint8Array): void {
    this.#live.add(id)
    for (const body of setUpCells(packet)) this.#cell(id, Command.SETUP, body)
  }

  close(): void {
    this.#socket?.destroy()
    this.#socket = null
  }

  end(): void {
    this.close()
    this.#ring.close()
  }
}

const mutated = mutateBytes()

function bent(bytes: Uint8Array, rng: SeededRng): Uint8Array {
  const copy = bytes.slice()
  if (rng.below(2) === 0) copy[rng.below(copy.length)]! ^= 1 << rng.below(8)
  return copy
}

function remember(list: Uint8Array[], bytes: Uint8Array, rng: SeededRng, most = SEEN_MAX): void {
  if (list.length < most) list.push(bytes)
  else list[rng.below(most)] = bytes
}

/** Turns of the event loop that took the processor for too long. By its time, not the wall's: others may be at work on the machine. */
async function watchTurns(slow: number[], until: () => boolean): Promise<void> {
  while (!until()) {
    const { user, system } = process.cpuUsage()
    const from = performance.now()
    await sleep(50)
    const used = process.cpuUsage()
    const gap = performance.now() - from
    if (gap > INPUT_CPU_MS_MAX && (used.user + used.system - user - system) / 1000 > INPUT_CPU_MS_MAX) slow.push(gap)
  }
}

function liveBytes(): number {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** Publishes at one node and reads at another, again while it fails: nothing wrong may come, only nothing yet. */
async function exchange(nodes: readonly RunningNode[], rng: SeededRng, withinMs: number): Promise<void> {
  const content = rng.bytes(1 + rng.below(40_000))
  const [from, to] = [rng.below(nodes.length), rng.below(nodes.length)]
  const end = performance.now() + withinMs
  const again = async <T>(work: () => Promise<T>): Promise<T> => {
    for (;;) {
      try {
        return await work()
      } catch (error) {
        if (!isOverlayError(error) || performance.now() > end) throw error
        assert.notEqual(error.code, 'INTERNAL')
        await sleep(100)
      }
    }
  }
  const { address } = await again(() => nodes[from]!.face.publish(oneChunk(content), { signal }))
  const read = async () => {
    const file = await nodes[to]!.face.open(address, { signal })
    const parts: Uint8Array[] = []
    for await (const part of file.read({ start: 0, end: file.bytes }, { signal })) parts.push(part.slice())
    return concat(...parts)
  }
  assert.equal(sha256(await again(read)), sha256(content))
}

async function until(what: string, done: () => boolean, ms: number): Promise<void> {
  for (const end = performance.now() + ms; !done(); await sleep(50))
    if (performance.now() > end) throw new Error(`not so: ${what}`)
}

test('six nodes, three hostile neighbours', { timeout: FOR_MS + 240_000 }, async (t) => {
  t.diagnostic(`FUZZ_SEED=${fuzzSeed}`)
  const rng = seededRng(`node ${fuzzSeed}`)
  const folder = mkdtempSync(join(tmpdir(), 'gyre-fuzz-'))
  const nodes: RunningNode[] = []
  const hostile: Hostile[] = []
  let over = false
  try {
    for (let index = 0; index < NODES; index++) {
      mkdirSync(join(folder, String(index)), { mode: 0o700 })
      const flags = {
        ...{
          'data-dir': join(folder, String(index)),
          listen: ['/ip4/127.0.0.1/tcp/0'],
          network: NETWORK,
          clock: 'swift',
          'store-quota': '64MiB',
        },
        bootstrap: nodes.slice(0, 1).flatMap(({ addresses }) => addresses),
      }
      nodes.push(await startNode(loadConfig({ flags, env: {}, home: folder, cwd: folder }), log))
    }
    await until('all know all', () => nodes.every(({ face }) => face.status().nodesKnown >= NODES && face.ready()), 60_000)
    for (let number = 0; number < 4; number++) await exchange(nodes, rng, 30_000)

    for (let number = 0; number < HOSTILE; number++) {
      const one = new Hostile(rng.fork(`hostile ${number}`), nodes)
      await one.prepare()
      hostile.push(one)
    }
    const slow: number[] = []
    const watching = watchTurns(slow, () => over)
    const end = performance.now() + FOR_MS
    const attacks = hostile.map(async (one, number) => {
      const own = rng.fork(`acts ${number}`)
      while (performance.now() < end) {
        if (!one.linked && !(await one.greet(nodes[own.below(NODES)]!))) await sleep(200)
        for (let acts = own.below(40); acts > 0; acts--) one.act()
        await sleep(own.below(8))
      }
    })
    let exchanges = 0
    // What an attack makes a node hold, it holds soon.
    let before = 0
    while (performance.now() < end) {
      if (before === 0 && performance.now() > end - (2 * FOR_MS) / 3) before = liveBytes()
      await exchange(nodes, rng, 60_000)
      exchanges++
      await sleep(300)
    }
    await Promise.all(attacks)
    for (const one of hostile) one.end()
    over = true
    await watching
    assert.deepEqual(slow, [], 'a turn took the processor for more than a second')
    assert.deepEqual(faults, [])
    const sent = hostile.map((one) => one.sent)
    assert.ok(
      sent.every(({ cells, links }) => cells > 500 && links > 0),
      JSON.stringify(sent),
    )

    for (let number = 0; number < 4; number++) await exchange(nodes, rng, 60_000)
    const grown = before === 0 ? 0 : liveBytes() - before
    t.diagnostic(`${JSON.stringify(sent)}; ${exchanges} exchanges meanwhile; ${(grown / 2 ** 20).toFixed(1)} MiB more`)
    if (globalThis.gc !== undefined && before > 0) assert.ok(grown < GROWTH_BYTES, `${(grown / 2 ** 20).toFixed(1)} MiB more`)
    await until('their links are gone', () => nodes.every(({ face }) => face.status().neighbours < NODES + HOSTILE), 10_000)
  } finally {
    over = true
    for (const one of hostile) one.end()
    await Promise.all(nodes.map((node) => node.close()))
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
})
