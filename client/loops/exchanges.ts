/**
 * The exchanges that one hop of a paced loop carries for its origin: up to `EXCHANGES_MAX` at once, told apart by their numbers, which are used
 * again. Who has left one gives nothing more for it; the hop hears of that when the number is joined anew, or with the loop's end.
 * Spec: SPEC.md §11.1, §11.3.
 */
import { EXCHANGES_MAX, type Pairing } from '../../src/stream/index.ts'
import { Arrivals } from './arrivals.ts'

export class HopExchanges {
  /** What payloads bring home, over all of them. */
  readonly arrivals = new Arrivals()
  readonly #pairings: (Pairing | null)[] = []
  /** Numbers whose join is under way. */
  readonly #joining = new Set<number>()
  /** Payloads of those that are over. */
  #before = 0

  /** Exchanges that are there or being joined. */
  get size(): number {
    let count = this.#joining.size
    for (const pairing of this.#pairings) if (pairing !== null) count++
    return count
  }

  /** A number that is free, taken from now on; `null`: there is none. */
  reserve(): number | null {
    for (let number = 0; number < EXCHANGES_MAX; number++) {
      if ((this.#pairings[number] ?? null) !== null || this.#joining.has(number)) continue
      this.#joining.add(number)
      return number
    }
    return null
  }

  /** The join failed. */
  cancel(number: number): void {
    this.#joining.delete(number)
  }

  add(number: number, pairing: Pairing): void {
    this.#joining.delete(number)
    while (this.#pairings.length <= number) this.#pairings.push(null)
    this.#pairings[number] = pairing
  }

  remove(number: number): void {
    this.#before += this.#pairings[number]?.received ?? 0
    this.#pairings[number] = null
  }

  clear(): void {
    this.#pairings.length = 0
    this.#joining.clear()
  }

  /** Payloads that came so far. */
  get received(): number {
    let count = this.#before
    for (const pairing of this.#pairings) if (pairing !== null) count += pairing.received
    return count
  }

  /** Whether some payload is worth a cell of its own. */
  get urgent(): boolean {
    for (const pairing of this.#pairings) if (pairing?.urgent === true) return true
    return false
  }

  /** Payloads that a round of cells brings home. */
  get arriving(): number {
    return this.size === 0 ? 0 : this.arrivals.perRound
  }
}
