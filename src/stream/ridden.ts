/**
 * What rode in which cell, for as long as it may still be lost: streams with their bytes, credits, resets, reports of loss. Kept by both ends
 * of a paced circuit's streams, by the counter of the cell. A ring over typed arrays: nothing is allocated for a cell. Counters ascend; the
 * oldest is forgotten when there is no room, and what is lost after that is repaired by deadlines. Pure. Spec: SPEC.md §5.1.
 */

/** What rides. */
export const Ridden = {
  /** `id`: the stream; `extra`: bytes of it. */
  STREAM: 0,
  /** `id`: the stream, 0 for all. */
  CREDIT: 1,
  /** `id`: the stream; `extra`: the code. */
  RESET: 2,
  /** `id`: a counter; `extra`: bytes that were sent in it. */
  ACK: 3,
} as const

/** Called for what rode in a cell, in order. */
export type RiddenVisitor = (kind: number, id: number, extra: number) => void

/** Things that ride in a cell, on average, before older cells are forgotten for want of room. */
const ITEMS_PER_CELL = 2

export class RiddenLog {
  readonly #cells: number
  readonly #counters: Uint32Array
  /** Where a cell's items begin, counted from the first item ever; they end where the next cell's begin. */
  readonly #firstItems: Float64Array
  readonly #items: number
  readonly #kinds: Uint8Array
  readonly #ids: Uint32Array
  readonly #extras: Uint16Array
  /** Cells and items entered so far; the oldest cell that is kept. */
  #entered = 0
  #oldest = 0
  #nextItem = 0

  /** `cells`: how many are remembered. */
  constructor(cells: number) {
    this.#cells = cells
    this.#counters = new Uint32Array(cells)
    this.#firstItems = new Float64Array(cells)
    this.#items = cells * ITEMS_PER_CELL
    this.#kinds = new Uint8Array(this.#items)
    this.#ids = new Uint32Array(this.#items)
    this.#extras = new Uint16Array(this.#items)
  }

  /** Counter of the oldest cell that is remembered, or of none: then everything was forgotten that ever was. */
  get forgottenBelow(): number {
    if (this.#oldest === 0) return 0
    return this.#oldest < this.#entered ? this.#counters[this.#oldest % this.#cells]! : Number.POSITIVE_INFINITY
  }

  /** What is entered from now on rides in the cell with `counter`, higher than all before. */
  begin(counter: number): void {
    if (this.#entered - this.#oldest === this.#cells) this.#oldest++
    const at = this.#entered++ % this.#cells
    this.#counters[at] = counter
    this.#firstItems[at] = this.#nextItem
  }

  enter(kind: number, id: number, extra: number): void {
    const item = this.#nextItem++ % this.#items
    this.#kinds[item] = kind
    this.#ids[item] = id
    this.#extras[item] = extra
    while (this.#firstItems[this.#oldest % this.#cells]! < this.#nextItem - this.#items) this.#oldest++
  }

  /** Forgets cells up to `counter`: they, and what rode in them, arrived. */
  arrived(counter: number): void {
    while (this.#oldest < this.#entered && this.#counters[this.#oldest % this.#cells]! <= counter) this.#oldest++
  }

  /** Visits what rode in the cell with `counter`, once: later calls find nothing more in it. `false`: that cell is not remembered. */
  take(counter: number, visit: RiddenVisitor): boolean {
    const cell = this.#find(counter)
    if (cell < 0) return false
    const end = cell + 1 < this.#entered ? this.#firstItems[(cell + 1) % this.#cells]! : this.#nextItem
    for (let item = this.#firstItems[cell % this.#cells]!; item < end; item++) {
      const at = item % this.#items
      const kind = this.#kinds[at]!
      this.#kinds[at] = TAKEN
      if (kind !== TAKEN) visit(kind, this.#ids[at]!, this.#extras[at]!)
    }
    return true
  }

  #find(counter: number): number {
    let low = this.#oldest
    let high = this.#entered - 1
    while (low <= high) {
      const middle = Math.floor((low + high) / 2)
      const found = this.#counters[middle % this.#cells]!
      if (found === counter) return middle
      if (found < counter) low = middle + 1
      else high = middle - 1
    }
    return -1
  }
}

const TAKEN = 255
