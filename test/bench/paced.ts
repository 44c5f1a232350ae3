/**
 * What one paced loop of each rate carries, of what its slots have room for: six nodes with one loop through five others, on memory links and
 * a fake clock, so that the figures are those of the protocol (credit, polls, answers that wait for cells) and of no machine.
 *
 * `node test/bench/paced.ts [--rate 8192] [--hold 40] [--asks 128] [--seconds 5]`. Without `--asks`: from 24 to 128 at once.
 */
import { parseArgs } from 'node:util'
import { askAgain } from '../../client/loops/asking.ts'
import type { PacedLoop } from '../../client/loops/paced-loop.ts'
import { RATE_LADDER } from '../../src/circuit/setup/index.ts'
import { encodeHopRequest, parseHopReply } from '../../src/wire/index.ts'
import { startFakeMesh } from '../support/fake-mesh.ts'

/** Frames that one cell has room for. */
const CELL_PAYLOAD_BYTES = 2027
const SHARE_BYTES = 65_536
/** Until a loop is full in both directions. */
const WARM_MS = 3_000

export interface PacedThroughput {
  /** Bytes a second of fake time, and the part of what the slots have room for. */
  readonly bytesPerSec: number
  readonly part: number
  readonly noiseCells: number
}

/** How much of one hop's answers (`down`) or of the origin's requests (`up`) one loop carries. */
export async function measurePaced(
  way: 'up' | 'down',
  { rate, holdMs, asks, seconds }: { rate: number; holdMs?: number; asks: number; seconds: number },
): Promise<PacedThroughput> {
  const index = (RATE_LADDER as readonly number[]).indexOf(rate)
  const sim = await startFakeMesh(`throughput ${way} ${rate}`, {
    pacing: { control: { everyMs: 200 } },
    store: async () => ({ status: 'ok', body: new Uint8Array(8) }),
  })
  const wish = { rate: index, lifeEpochs: Math.ceil((seconds + WARM_MS / 1000 + 10) / 5) }
  const loop = await sim.buildPaced(0, holdMs === undefined ? wish : { ...wish, holdMs })
  await sim.clock.runUntil(() => loop.running, 20_000)
  const counted = { bytes: 0 }
  const stop = new AbortController()
  const running = Array.from({ length: asks }, () => askOn(loop, way, counted, stop.signal))
  await sim.clock.advance(WARM_MS)
  const { bytes } = counted
  await sim.clock.advance(seconds * 1000)
  const bytesPerSec = (counted.bytes - bytes) / seconds
  stop.abort(new Error('measured'))
  await sim.clock.runFor(Promise.allSettled(running))
  const { noiseCells } = loop
  await sim.close()
  return { bytesPerSec, part: bytesPerSec / (rate * CELL_PAYLOAD_BYTES), noiseCells }
}

async function askOn(loop: PacedLoop, way: 'up' | 'down', counted: { bytes: number }, signal: AbortSignal): Promise<void> {
  const request =
    way === 'up'
      ? encodeHopRequest({ kind: 'store', request: new Uint8Array(SHARE_BYTES) })
      : encodeHopRequest({ kind: 'ping', filler: new Uint8Array(0), answerBytes: SHARE_BYTES })
  while (!signal.aborted) {
    const reply = parseHopReply(await askAgain(() => loop.ask(request, { signal })))
    if (reply?.status === 'ok') counted.bytes += SHARE_BYTES
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      rate: { type: 'string', default: '8192' },
      hold: { type: 'string' },
      asks: { type: 'string' },
      seconds: { type: 'string', default: '5' },
    },
  })
  const rate = Number(values.rate)
  for (const way of ['up', 'down'] as const) {
    for (const asks of values.asks === undefined ? [24, 32, 64, 96, 128, 256] : [Number(values.asks)]) {
      const how = values.hold === undefined ? {} : { holdMs: Number(values.hold) }
      const found = await measurePaced(way, { rate, asks, seconds: Number(values.seconds), ...how })
      const mb = (found.bytesPerSec / 1e6).toFixed(2)
      console.log(
        `${way.padEnd(5)} ${rate} cells/s, ${asks} asks: ${mb} MB/s, ${(100 * found.part).toFixed(1)} %, ${found.noiseCells} noise`,
      )
    }
  }
}
