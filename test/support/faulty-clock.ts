/** A clock that is not right: ahead of or behind the others by the wall, or with timers that come late, as in a process that is busy. */
import type { MonotonicMs, UnixMs } from '../../src/bytes/index.ts'
import { type Clock, deadlineOn, sleepOn } from '../../src/runtime/index.ts'

export interface ClockFaults {
  /** How far the wall clock is ahead. */
  readonly aheadMs?: number
  /** How late the next timer fires. */
  late?(): number
}

export function faultyClock(clock: Clock, { aheadMs = 0, late = () => 0 }: ClockFaults): Clock {
  const faulty: Clock = {
    unixMs: () => (clock.unixMs() + aheadMs) as UnixMs,
    monotonicMs: (): MonotonicMs => clock.monotonicMs(),
    setTimer: (ms, fire) => clock.setTimer(ms + late(), fire),
    nextTurn: (fire) => clock.nextTurn(fire),
    deadline: (ms, signal) => deadlineOn(faulty, ms, signal),
    sleep: (ms, { signal }) => sleepOn(faulty, ms, signal),
  }
  return faulty
}
