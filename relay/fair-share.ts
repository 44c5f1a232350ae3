/**
 * A bounded amount of something (memory, places, requests under way) that all predecessors of this node's circuits share. Nobody has more than
 * his part of it, and never more than is left for all others together (dynamic thresholds: Choudhury and Hahne 1998): who takes all that he can
 * leaves as much to the next. This node's own requests count in the total and in nobody's part. Threat: a neighbour, or who floods through one,
 * takes what everybody is to be served from. Spec: SPEC.md §5.3.
 */

/** Whose circuits something is taken for: the link that they come in by. `null`: this node's own. */
export type Claimant = object | null

export interface FairShareLimits {
  readonly total: number
  /** Most that one claimant may have. Default: as `total`. */
  readonly each?: number
}

export class FairShare {
  readonly #total: number
  readonly #each: number
  /** Who has something, and how much. Empty when nothing is taken. */
  readonly #held = new Map<object, number>()
  #taken = 0

  constructor({ total, each = total }: FairShareLimits) {
    this.#total = total
    this.#each = each
  }

  /** What all have now. */
  get taken(): number {
    return this.#taken
  }

  heldBy(claimant: Claimant): number {
    return claimant === null ? 0 : (this.#held.get(claimant) ?? 0)
  }

  /** Whether there is room for `amount` more in all. */
  fits(amount: number): boolean {
    return this.#taken + amount <= this.#total
  }

  /** Whether `claimant` may have `amount` more. */
  mayTake(claimant: Claimant, amount = 1): boolean {
    const free = this.#total - this.#taken
    if (claimant === null) return amount <= free
    return this.heldBy(claimant) + amount <= Math.min(free, this.#each)
  }

  /** Takes `amount` for `claimant` if it may have it. */
  take(claimant: Claimant, amount = 1): boolean {
    if (!this.mayTake(claimant, amount)) return false
    if (claimant !== null) this.#held.set(claimant, this.heldBy(claimant) + amount)
    this.#taken += amount
    return true
  }

  /** Gives back what `take` took. */
  give(claimant: Claimant, amount = 1): void {
    this.#taken -= amount
    if (claimant === null) return
    const held = this.heldBy(claimant) - amount
    if (held > 0) this.#held.set(claimant, held)
    else this.#held.delete(claimant)
  }

  /** Who has most. `null`: nobody but this node has anything. */
  get fullest(): object | null {
    let fullest: object | null = null
    let most = 0
    for (const [claimant, held] of this.#held) {
      if (held <= most) continue
      most = held
      fullest = claimant
    }
    return fullest
  }
}
