/**
 * Payloads through one rendezvous point: two loops of five others joined at one apex, all nodes in one process on memory links, so that the
 * figure is the work of one core and compares with a plain loop's download on the same mesh. The two ends keep up to 192 payloads
 * unacknowledged, as a session does, and shrink on loss. Longer ways show what the queue at the rendezvous point is for.
 * `node test/bench/exchange.ts`; `--all` tries the lengths of the queue that were considered.
 */

import { RENDEZVOUS_LIMITS } from '../../relay/rendezvous/index.ts'
import { readU32, writeU32 } from '../../src/bytes/index.ts'
import { systemClock, systemRng } from '../../src/runtime/index.ts'
import { type ExchangeEnd, type ExchangePort, PAYLOAD_BYTES } from '../../src/stream/index.ts'
import { encodeHopRequest } from '../../src/wire/index.ts'
import { startMesh } from '../support/mesh.ts'

const SECONDS = Number(process.env.BENCH_SECONDS ?? 3)
const WINDOW_MAX = 192
const ACK_EVERY = 8
const ACK_WITHIN_MS = 10
const never = new AbortController()

/** Payload: u32 sequence of content (0: none), u32 highest sequence received, u32 count received. */
class BulkEnd implements ExchangeEnd {
  port: ExchangePort | null = null
  window = 32
  sent = 0
  received = 0
  lost = 0
  fills = 0
  readonly #talks: boolean
  #highest = 0
  #ackedHighest = 0
  #ackedCount = 0
  #sinceAck = 0
  #ackDueAt = Number.POSITIVE_INFINITY

  constructor(talks: boolean) {
    this.#talks = talks
  }

  get #room(): boolean {
    return this.#talks && this.sent - this.#ackedHighest < this.window
  }

  get wants(): boolean {
    return this.#room || this.#sinceAck >= ACK_EVERY || systemClock.monotonicMs() >= this.#ackDueAt
  }

  fill(into: Uint8Array, at: number): void {
    this.fills++
    writeU32(into, at, this.#room ? ++this.sent : 0)
    writeU32(into, at + 4, this.#highest)
    writeU32(into, at + 8, this.received)
    this.#sinceAck = 0
    this.#ackDueAt = Number.POSITIVE_INFINITY
  }

  onPayload(bytes: Uint8Array, at: number): void {
    const sequence = readU32(bytes, at)
    if (sequence > 0) {
      this.received++
      this.#highest = Math.max(this.#highest, sequence)
      if (this.#sinceAck++ === 0) this.#ackDueAt = systemClock.monotonicMs() + ACK_WITHIN_MS
    }
    const lost = readU32(bytes, at + 4) - readU32(bytes, at + 8)
    if (lost > this.lost) {
      this.lost = lost
      this.window = Math.max(16, this.window / 2)
    } else if (readU32(bytes, at + 8) > this.#ackedCount) {
      this.window = Math.min(WINDOW_MAX, this.window + (readU32(bytes, at + 8) - this.#ackedCount) / 8)
    }
    this.#ackedHighest = Math.max(this.#ackedHighest, readU32(bytes, at + 4))
    this.#ackedCount = Math.max(this.#ackedCount, readU32(bytes, at + 8))
  }

  onGone(): void {}
}

async function measure(delayMs: number, queue: number, both: boolean): Promise<string> {
  const shape = delayMs === 0 ? {} : { shape: () => ({ delayMs }) }
  const rendezvous = { ...RENDEZVOUS_LIMITS, queue }
  const mesh = await startMesh({ count: 8, clock: systemClock, rng: systemRng, rendezvous, ...shape })
  const build = (from: number, hops: readonly number[]) => {
    const node = mesh.nodes[from]!
    node.path = { hops: hops.map((hop) => mesh.nodes[hop]!.id), apexIndex: 2 }
    return node.builder.build(undefined, () => {}, never)
  }
  // The floor: one loop alone, 64 KiB answers, 24 at once.
  const plain = await build(0, [1, 2, 3, 4, 5])
  const ask = encodeHopRequest({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 65_536 })
  let bytes = 0
  const until = systemClock.monotonicMs() + SECONDS * 1000
  const one = async () => {
    while (systemClock.monotonicMs() < until) {
      await plain.ask(ask, never)
      bytes += 65_536
    }
  }
  const plainStarted = systemClock.monotonicMs()
  await Promise.all(Array.from({ length: 24 }, one))
  const plainMBps = bytes / 1e3 / (systemClock.monotonicMs() - plainStarted)
  plain.close()

  const [first, second] = await Promise.all([build(0, [1, 2, 3, 4, 5]), build(6, [7, 5, 3, 2, 1])])
  const cookie = systemRng.bytes(32)
  const ends = [new BulkEnd(true), new BulkEnd(both)] as const
  ends[0].port = await first.join(cookie, ends[0], never)
  ends[1].port = await second.join(cookie, ends[1], never)
  await systemClock.sleep(500, never)
  const before = ends.map(({ received }) => received)
  const cells = [first.figures.cells, second.figures.cells]
  const started = systemClock.monotonicMs()
  await systemClock.sleep(SECONDS * 1000, never)
  const ms = systemClock.monotonicMs() - started
  const moved = ends.map(({ received }, at) => received - before[at]!)
  const total = moved[0]! + moved[1]!
  const MBps = (total * PAYLOAD_BYTES) / 1e3 / ms
  const used = first.figures.cells - cells[0]! + second.figures.cells - cells[1]!
  const { windowCells } = first.figures
  ends[0].port.close()
  ends[1].port.close()
  await mesh.close()
  return [
    `${delayMs} ms a link`.padEnd(14),
    `queue ${queue}`.padEnd(10),
    (both ? 'both' : 'one').padEnd(5),
    `plain ${plainMBps.toFixed(1)} MB/s`.padEnd(18),
    `exchange ${MBps.toFixed(1)} MB/s`.padEnd(21),
    `ratio ${(MBps / plainMBps).toFixed(2)}`,
    `cells per content ${(used / total).toFixed(2)}`,
    `lost ${((100 * (ends[0].lost + ends[1].lost)) / (ends[0].sent + ends[1].sent)).toFixed(2)} %`,
    `window ${Math.floor(ends[0].window)}/${windowCells}`,
  ].join('  ')
}

if (import.meta.main) {
  const alive = setInterval(() => {}, 1000) // memory links have no sockets, and timers of the clock keep no process alive
  const all = process.argv.includes('--all')
  for (const delayMs of all ? [0, 1, 5] : [0, 5]) {
    for (const queue of all ? [64, 256] : [RENDEZVOUS_LIMITS.queue]) {
      for (const both of [false, true]) console.log(await measure(delayMs, queue, both))
    }
  }
  clearInterval(alive)
}
