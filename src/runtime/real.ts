/** The machine's clock and randomness. */
import { randomBytes, randomFillSync } from 'node:crypto'
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

/** Random bytes drawn ahead for choices: one call to the system for each of them made it a tenth of building a loop. Never for keys. */
const choices = new Uint8Array(4096)
let choicesUsed = choices.length

function drawU32(): number {
  if (choicesUsed === choices.length) {
    randomFillSync(choices)
    choicesUsed = 0
  }
  const drawn = readU32(choices, choicesUsed)
  choices.fill(0, choicesUsed, choicesUsed + 4)
  choicesUsed += 4
  return drawn
}

export const systemRng: Rng = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
  below(bound) {
    const limit = Math.floor(0x1_0000_0000 / bound) * bound
    for (;;) {
      const drawn = drawU32()
      if (drawn < limit) return drawn % bound
    }
  },
  unit: () => drawU32() / 0x1_0000_0000,
}
