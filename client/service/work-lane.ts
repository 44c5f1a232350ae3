/**
 * Turns for proofs of work: one slice of all that are under way in each turn of the event loop, in order. A service says how much work its
 * clients do, and a page can name many services: without this each search would have a slice of half a millisecond in every turn, and all other
 * cells of the node would wait for them, more the more there are. Then the one who caused it could look for the node that has become slow.
 */
import type { Clock } from '../../src/runtime/index.ts'

export class WorkLane {
  readonly #clock: Pick<Clock, 'nextTurn'>
  /** As long as there are searches: at most one entry for each. */
  readonly #waiting: (() => void)[] = []

  constructor(clock: Pick<Clock, 'nextTurn'>) {
    this.#clock = clock
  }

  /** As `Clock.nextTurn`, but for one of all that wait here. */
  nextTurn(fire: () => void): void {
    this.#waiting.push(fire)
    if (this.#waiting.length === 1) this.#schedule()
  }

  #schedule(): void {
    this.#clock.nextTurn(() => {
      // Still in the list while it runs: what it asks for goes behind the others, and is scheduled below.
      this.#waiting[0]!()
      this.#waiting.shift()
      if (this.#waiting.length > 0) this.#schedule()
    })
  }
}
