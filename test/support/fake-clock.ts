/**
 * A clock that stands still until a test moves it, for unit tests and whole simulated networks.
 *
 * Order is fixed: turns run in the order in which they were asked for; timers by due time, then by the order in which they were set.
 * Whatever a callback asks for with `nextTurn` runs in the next round of turns, never in the same one. The asynchronous movers let every
 * promise that a callback settled run before time goes on, so that `async` code sees the same order in each run.
 */
import { setImmediate as afterPromises } from 'node:timers/promises'
import type { MonotonicMs, UnixMs } from '../../src/bytes/index.ts'
import { type Clock, type Deadline, deadlineOn, sleepOn, type Timer } from '../../src/runtime/index.ts'

/** Rounds of turns without a pause after which a test is told that it never comes to rest. */
const ROUNDS_MAX = 1_000_000

interface Pending {
  readonly due: number
  readonly order: number
  fire: (() => void) | null
}

function before(a: Pending, b: Pending): boolean {
  return a.due < b.due || (a.due === b.due && a.order < b.order)
}

export class FakeClock implements Clock {
  /** 2026-01-01, so that wall-clock checks see a plausible date. */
  static readonly START_UNIX_MS = 1_767_225_600_000

  #now = 0
  #unixOffset: number
  #order = 0
  #turns: (() => void)[] = []
  /** A binary heap of timers, the earliest first. Cancelled ones stay until they surface. */
  readonly #heap: Pending[] = []
  #live = 0

  constructor(startUnixMs: number = FakeClock.START_UNIX_MS) {
    this.#unixOffset = startUnixMs
  }

  unixMs(): UnixMs {
    return (this.#unixOffset + this.#now) as UnixMs
  }

  monotonicMs(): MonotonicMs {
    return this.#now as MonotonicMs
  }

  setTimer(ms: number, fire: () => void): Timer {
    const pending: Pending = { due: this.#now + Math.max(0, ms), order: this.#order++, fire }
    this.#live++
    this.#add(pending)
    return {
      cancel: () => {
        if (pending.fire === null) return
        pending.fire = null
        this.#live--
      },
    }
  }

  nextTurn(fire: () => void): void {
    this.#turns.push(fire)
  }

  deadline(ms: number, signal: AbortSignal): Deadline {
    return deadlineOn(this, ms, signal)
  }

  sleep(ms: number, { signal }: { signal: AbortSignal }): Promise<void> {
    return sleepOn(this, ms, signal)
  }

  /** Timers set and neither fired nor cancelled: 0 after a clean close. */
  get pendingTimers(): number {
    return this.#live
  }

  /** Turns asked for and not yet run. */
  get pendingTurns(): number {
    return this.#turns.length
  }

  /** Jumps the wall clock by `ms` (negative too) and leaves monotonic time and timers alone. */
  jumpWallClock(ms: number): void {
    this.#unixOffset += ms
  }

  /** Runs the turns that are asked for now; `false` if there were none. Time stands still. */
  runTurns(): boolean {
    if (this.#turns.length === 0) return false
    const turns = this.#turns
    this.#turns = []
    for (const turn of turns) turn()
    return true
  }

  /** Runs turns, and turns that they ask for, until none is left; promises do not get to run. For code without `async`. */
  settleNow(): void {
    for (let rounds = 0; this.runTurns(); rounds++) {
      if (rounds >= ROUNDS_MAX) throw new Error('the turns never come to an end')
    }
  }

  /** Runs turns and promises until both are at rest. Time stands still. */
  async settle(): Promise<void> {
    for (let rounds = 0; ; rounds++) {
      if (rounds >= ROUNDS_MAX) throw new Error('the turns never come to an end')
      await afterPromises()
      if (this.runTurns()) continue
      // Promises may have asked for something while others ran: only a second quiet look is rest.
      await afterPromises()
      if (this.#turns.length === 0) return
    }
  }

  /** Moves time on by `ms`, firing what falls due on the way, without letting promises run. For code without `async`. */
  advanceNow(ms: number): void {
    const end = this.#now + ms
    this.settleNow()
    while (this.#fireNext(end)) this.settleNow()
    this.#now = end
  }

  /** Moves time on by `ms`; turns and promises come to rest after each timer. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await this.settle()
    while (this.#fireNext(end)) await this.settle()
    this.#now = end
  }

  /** Moves on from timer to timer until `done()` or `withinMs` has passed; returns the last value of `done()`. */
  async runUntil(done: () => boolean, withinMs: number): Promise<boolean> {
    const end = this.#now + withinMs
    await this.settle()
    while (!done() && this.#fireNext(end)) await this.settle()
    if (!done()) this.#now = end
    return done()
  }

  /** Moves on until `promise` is settled, at most `withinMs`, and returns its outcome. */
  async runFor<T>(promise: Promise<T>, withinMs = 60_000): Promise<T> {
    let settled = false
    const mark = () => {
      settled = true
    }
    promise.then(mark, mark)
    if (!(await this.runUntil(() => settled, withinMs))) throw new Error(`the promise is still pending after ${withinMs} ms`)
    return promise
  }

  /** Fires every timer, whenever due, until none is left, at most `withinMs` ahead. */
  async runUntilIdle(withinMs = 3_600_000): Promise<void> {
    await this.runUntil(() => this.#live === 0 && this.#turns.length === 0, withinMs)
  }

  /** Moves to the earliest timer due by `end` and fires it; `false` if there is none. */
  #fireNext(end: number): boolean {
    for (;;) {
      const first = this.#heap[0]
      if (first === undefined || (first.due > end && first.fire !== null)) return false
      this.#removeFirst()
      if (first.fire === null) continue
      this.#now = Math.max(this.#now, first.due)
      const { fire } = first
      first.fire = null
      this.#live--
      fire()
      return true
    }
  }

  #add(pending: Pending): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(pending)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(pending, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = pending
  }

  #removeFirst(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }
}
