/**
 * How many payloads come home in one round of a joined loop's cells. What waits at the rendezvous point says how many cells it lacks; but
 * while those are on their way as many new payloads come there as came in the last round, and they need cells too. Without this a payload
 * waits there as long as a loop takes: the cells in flight would equal what waits. Pure: counters in, a number out. Spec: SPEC.md §11.1.
 */
export class Arrivals {
  #last = 0
  #now = 0
  /** Counter of the cell that ends the round when it comes home. */
  #roundEnd = 0

  /** Payloads that a round brings: the better of this one and the last. */
  get perRound(): number {
    return Math.max(this.#last, this.#now)
  }

  /** Cell `counter` came home, `sent` being the counter of the next cell out. */
  onHome(counter: number, sent: number, brought: boolean): void {
    if (counter >= this.#roundEnd) {
      this.#last = this.#now
      this.#now = 0
      this.#roundEnd = sent
    }
    if (brought) this.#now++
  }
}
