/** The machine's clock and randomness. */
import { randomFillSync } from 'node:crypto'
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

/** One moment, as this thread's monotonic clock and the machine's tell it: by it another thread of the process reads the same clock. */
export interface ClockMoment {
  readonly monotonicMs: number
  readonly machineNs: bigint
}

/** How often both clocks are read for one moment: a process that must wait for its turn between two readings has read two. */
const MOMENT_READINGS = 8

export function clockMoment(): ClockMoment {
  let best: ClockMoment = { monotonicMs: 0, machineNs: 0n }
  let leastNs = Number.POSITIVE_INFINITY
  for (let left = MOMENT_READINGS; left > 0; left--) {
    const before = process.hrtime.bigint()
    const monotonicMs = performance.now()
    const tookNs = process.hrtime.bigint() - before
    if (Number(tookNs) >= leastNs) continue
    leastNs = Number(tookNs)
    best = { monotonicMs, machineNs: before + tookNs / 2n }
  }
  return best
}

/** `systemClock` as the thread has it in which `moment` was told. */
export function clockOf({ monotonicMs, machineNs }: ClockMoment): Clock {
  const own = clockMoment()
  const aheadMs = monotonicMs + Number(own.machineNs - machineNs) / 1e6 - own.monotonicMs
  const clock: Clock = {
    ...systemClock,
    monotonicMs: () => (performance.now() + aheadMs) as MonotonicMs,
    deadline: (ms, signal) => deadlineOn(clock, ms, signal),
    sleep: (ms, { signal }) => sleepOn(clock, ms, signal),
  }
  return clock
}

/** Bytes that are drawn ahead for `scratch`: a call to the system for each cell that is late cost a third of what a cell costs. */
const SCRATCH_BYTES = 65_536

/** The operating system's randomness. Choices are served from bytes drawn ahead: a call to the system for each was a tenth of building a loop. */
class SystemRng implements Rng {
  /** For choices only, never for keys; overwritten as it is used. */
  readonly #ahead = new Uint8Array(4096)
  #used = this.#ahead.length
  /** Made when it is first needed. */
  #scratch: Uint8Array | null = null
  #scratchUsed = SCRATCH_BYTES

  bytes(length: number): Uint8Array {
    return randomFillSync(new Uint8Array(length))
  }

  scratch(length: number): Uint8Array {
    if (length > SCRATCH_BYTES) throw new RangeError(`scratch of ${length} bytes`)
    this.#scratch ??= new Uint8Array(SCRATCH_BYTES)
    if (this.#scratchUsed + length > SCRATCH_BYTES) {
      randomFillSync(this.#scratch)
      this.#scratchUsed = 0
    }
    this.#scratchUsed += length
    return this.#scratch.subarray(this.#scratchUsed - length, this.#scratchUsed)
  }

  below(bound: number): number {
    const limit = Math.floor(0x1_0000_0000 / bound) * bound
    for (;;) {
      const drawn = this.#draw()
      if (drawn < limit) return drawn % bound
    }
  }

  unit(): number {
    return this.#draw() / 0x1_0000_0000
  }

  #draw(): number {
    if (this.#used === this.#ahead.length) {
      randomFillSync(this.#ahead)
      this.#used = 0
    }
    const drawn = readU32(this.#ahead, this.#used)
    this.#ahead.fill(0, this.#used, this.#used + 4)
    this.#used += 4
    return drawn
  }
}

export const systemRng: Rng = new SystemRng()
