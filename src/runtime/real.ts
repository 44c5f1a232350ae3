/** The machine's clock and randomness. */
import { randomBytes } from 'node:crypto'
import type { MonotonicMs, UnixMs } from '../bytes/index.ts'
import { readU32 } from '../bytes/index.ts'
import type { Clock, Rng } from './index.ts'
import { deadlineOn, sleepOn } from './waiting.ts'

export const systemClock: Clock = {
  unixMs: () => Date.now() as UnixMs,
  monotonicMs: () => performance.now() as MonotonicMs,
  setTimer(ms, fire) {
    const timer = setTimeout(fire, ms)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
  nextTurn(fire) {
    setImmediate(fire)
  },
  deadline: (ms, signal) => deadlineOn(systemClock, ms, signal),
  sleep: (ms, { signal }) => sleepOn(systemClock, ms, signal),
}

export const systemRng: Rng = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
  below(bound) {
    const limit = Math.floor(0x1_0000_0000 / bound) * bound
    for (;;) {
      const drawn = readU32(randomBytes(4), 0)
      if (drawn < limit) return drawn % bound
    }
  },
  unit: () => readU32(randomBytes(4), 0) / 0x1_0000_0000,
}
