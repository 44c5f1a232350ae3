/**
 * How the links of a host share its time: by what their turns take, not by their number (start-time fair queueing: Goyal, Vin and Cheng 1996). Each
 * link has an account of the time that it had; whose account is furthest ahead lets turns pass until the others have caught up. So a peer
 * whose cells are dear (set-ups, requests) has fewer of them while others wait, links that are always full have equal parts of the time, and one that
 * wants less than its part waits for nobody. A link that nobody waits beside pays nothing, and what was not asked for is not saved.
 * Threat: a neighbour that makes this node work more than others do. Knows nothing of cells. Spec: SPEC.md §3.2.
 */

// Implementation constants.
/** Accounts so close together count as equal: less than this, and there would be more waiting than turns. About two turns of relayed cells. */
const SLACK_MS = 0.2
/**
 * A turn counts as no shorter than this, half of what one of relayed cells takes where they are fast: going round for the next costs something too, and cells
 * that take next to nothing would come in hundreds of turns. And as no longer: a pause of the process is nobody's.
 */
const TURN_MS_MIN = 0.05
const TURN_MS_MAX = 10
/** Furthest that a link is ahead by what it is billed for. */
const AHEAD_MS_MAX = 1_000

/** What the accounts of one host have in common. */
export class HostTurns {
  /** Links that wait for a turn of the event loop. */
  waiting = 0
  /** How far the one that is furthest behind has come, of those that wait. */
  nowMs = 0
  /** Links that let a turn pass since one was taken, and the account that is furthest behind of theirs. */
  passed = 0
  leastMs = Number.POSITIVE_INFINITY

  reach(ms: number): void {
    this.nowMs = ms
    this.passed = 0
    this.leastMs = Number.POSITIVE_INFINITY
  }
}

/** One link's. */
export class TurnAccount {
  readonly #host: HostTurns
  #hadMs = 0

  constructor(host: HostTurns) {
    this.#host = host
  }

  /** It waits for a turn. `again`: it had one just now, and there is more. */
  wait(again: boolean): void {
    this.#host.waiting++
    if (!again) this.#hadMs = Math.max(this.#hadMs, this.#host.nowMs)
  }

  /** Its turn has come, and it waits no more. */
  come(): void {
    this.#host.waiting--
  }

  /** Whether it may take the turn that has come. `false`: it lets it pass, and waits on. */
  mayTake(): boolean {
    const host = this.#host
    const had = this.#hadMs
    if (host.waiting === 0 || had <= host.nowMs + SLACK_MS) {
      host.reach(host.waiting === 0 ? Math.max(host.nowMs, had) : host.nowMs)
      return true
    }
    host.leastMs = Math.min(host.leastMs, had)
    if (++host.passed <= host.waiting) return false
    host.reach(host.leastMs) // all have let one pass
    return had <= host.nowMs + SLACK_MS
  }

  /** A turn took `ms`. */
  spent(ms: number): void {
    this.#hadMs += Math.max(TURN_MS_MIN, Math.min(TURN_MS_MAX, ms))
  }

  /** What its cells have set off takes `ms` outside of a turn. */
  bill(ms: number): void {
    this.#hadMs = Math.min(Math.max(this.#hadMs, this.#host.nowMs + AHEAD_MS_MAX), this.#hadMs + ms)
  }
}
