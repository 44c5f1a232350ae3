/**
 * The neighbours that this node chose, as kept on disk: they do what Tor's guards do, so they must outlive restarts and must not be
 * moved by others. Pure; the driver reads and writes the text.
 *
 * Policy. An entry is held for a random 2 to 4 weeks. One whose node is away stays, and is dialled again; meanwhile a substitute is
 * chosen (`mayReplace` bounds how many in what time, so that an attacker who takes neighbours down one after another does not soon
 * become one). Away for 7 days ends an entry. An entry made while the network was small (the first minutes of a network know only its
 * bootstrap node) is drawn anew, 10 to 60 minutes after the network has grown fourfold. At most 12 entries: the one away longest goes.
 * Spec: SPEC.md §6.4.
 */
import { type MonotonicMs, type NodeId, parseNodeId, type UnixMs } from '../../src/bytes/index.ts'
import { type Rng, TokenBucket } from '../../src/runtime/index.ts'

// Implementation constants.
const DAY_MS = 24 * 3_600_000
const HOLD_MIN_MS = 14 * DAY_MS
const HOLD_SPREAD_MS = 14 * DAY_MS
const AWAY_MAX_MS = 7 * DAY_MS
/** `linkedMs` is kept to the hour: the file need not change each minute. */
const LINKED_STEP_MS = 3_600_000
const ENTRIES_MAX = 12
const SMALL_NETWORK_NODES = 20
const OUTGROWN_FACTOR = 4
const OUTGROWN_MIN_MS = 10 * 60_000
const OUTGROWN_SPREAD_MS = 50 * 60_000
/** Substitutes at once, and one more per this time. */
const SUBSTITUTES = 12
const SUBSTITUTE_EVERY_MS = 2 * 3_600_000
const FIRST_LINE = 'gyre neighbours 1'
const TEXT_MAX = 64 * 1024

export interface BookEntry {
  readonly id: NodeId
  /** When its time is over. */
  readonly holdUntilMs: UnixMs
  /** When it was last seen linked. */
  readonly linkedMs: UnixMs
  /** Nodes known when it was chosen. */
  readonly nodesThen: number
}

export class NeighbourBook {
  readonly #rng: Rng
  readonly #entries = new Map<NodeId, BookEntry>()
  readonly #substitutes: TokenBucket
  readonly #usual: number

  /** `usual`: how many neighbours a node chooses. */
  constructor(usual: number, rng: Rng, now: MonotonicMs) {
    this.#usual = usual
    this.#rng = rng
    this.#substitutes = new TokenBucket(1000 / SUBSTITUTE_EVERY_MS, SUBSTITUTES, now)
  }

  get ids(): readonly NodeId[] {
    return [...this.#entries.keys()]
  }

  has(id: NodeId): boolean {
    return this.#entries.has(id)
  }

  /** Whether one more may be chosen now: always up to the usual number, beyond it (for those that are away) at a bounded rate. */
  mayChoose(now: MonotonicMs): boolean {
    return this.#entries.size < this.#usual || this.#substitutes.has(now)
  }

  /** Enters a node that was chosen and is linked. */
  add(id: NodeId, nodes: number, nowUnix: UnixMs, now: MonotonicMs): void {
    if (this.#entries.has(id)) return this.sawLinked(id, nowUnix)
    if (this.#entries.size >= this.#usual) this.#substitutes.take(now)
    if (this.#entries.size >= ENTRIES_MAX) {
      const longest = [...this.#entries.values()].reduce((a, b) => (b.linkedMs < a.linkedMs ? b : a))
      this.#entries.delete(longest.id)
    }
    const holdUntilMs = (nowUnix + HOLD_MIN_MS + Math.floor(this.#rng.unit() * HOLD_SPREAD_MS)) as UnixMs
    this.#entries.set(id, { id, holdUntilMs, linkedMs: nowUnix, nodesThen: nodes })
  }

  sawLinked(id: NodeId, nowUnix: UnixMs): void {
    const entry = this.#entries.get(id)
    if (entry && Math.abs(nowUnix - entry.linkedMs) >= LINKED_STEP_MS) this.#entries.set(id, { ...entry, linkedMs: nowUnix })
  }

  /**
   * Ends what is over its time; `nodes` are known now. Of entries that are linked at most one goes per call, so that the web changes one
   * link at a time. Returns those that ended.
   */
  review(nodes: number, isLinked: (id: NodeId) => boolean, nowUnix: UnixMs): readonly NodeId[] {
    const ended: NodeId[] = []
    let changedLinked = false
    for (const entry of [...this.#entries.values()]) {
      const { id, nodesThen } = entry
      const outgrown = nodesThen < SMALL_NETWORK_NODES && nodes >= SMALL_NETWORK_NODES && nodes >= OUTGROWN_FACTOR * nodesThen
      if (outgrown) {
        const soon = (nowUnix + OUTGROWN_MIN_MS + Math.floor(this.#rng.unit() * OUTGROWN_SPREAD_MS)) as UnixMs
        if (soon < entry.holdUntilMs) this.#entries.set(id, { ...entry, holdUntilMs: soon, nodesThen: nodes })
      }
      if (isLinked(id)) this.sawLinked(id, nowUnix)
      const away = !isLinked(id) && nowUnix - entry.linkedMs > AWAY_MAX_MS
      const over = entry.holdUntilMs <= nowUnix && !(isLinked(id) && changedLinked)
      if (!away && !over) continue
      changedLinked ||= isLinked(id)
      this.#entries.delete(id)
      ended.push(id)
    }
    return ended
  }

  /** For the file: one entry a line. */
  toText(): string {
    const lines = Array.from(this.#entries.values(), ({ id, holdUntilMs, linkedMs, nodesThen }) =>
      [id, holdUntilMs, linkedMs, nodesThen].join(' '),
    )
    return `${[FIRST_LINE, ...lines].join('\n')}\n`
  }

  /** Takes the entries of `text`; a damaged line is skipped, times in the future are cut to what this node itself could have written. */
  load(text: string, nowUnix: UnixMs): void {
    const [first, ...lines] = text.slice(0, TEXT_MAX).split('\n')
    if (first !== FIRST_LINE) return
    for (const line of lines.slice(0, ENTRIES_MAX)) {
      const [idText = '', ...numbers] = line.split(' ')
      const id = parseNodeId(idText)
      const [hold, linked, nodes] = numbers.map(Number)
      if (
        id === null ||
        numbers.length !== 3 ||
        ![hold, linked, nodes].every((value) => Number.isSafeInteger(value) && value! >= 0)
      )
        continue
      const holdUntilMs = Math.min(hold!, nowUnix + HOLD_MIN_MS + HOLD_SPREAD_MS) as UnixMs
      this.#entries.set(id, { id, holdUntilMs, linkedMs: Math.min(linked!, nowUnix) as UnixMs, nodesThen: nodes! })
    }
  }
}
