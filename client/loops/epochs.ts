/**
 * Public epochs as the sets of own loops follow them: one call at each, and whether the directory has settled since the start. In a young network
 * loops would come out short, so the first ones wait until as many nodes are known as a while ago, but not for ever. Spec: SPEC.md §4.6.
 */
import { EPOCH_MS } from '../../src/circuit/setup/index.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import type { Clock, Timer } from '../../src/runtime/index.ts'

// Implementation constants.
/** So long the directory has been the same before the first loops are set up, or else so long the node waits at most. */
const SETTLED_EPOCHS = Math.ceil(5_000 / EPOCH_MS)
const SETTLED_AT_MOST_EPOCHS = 30_000 / EPOCH_MS

export interface EpochsDeps {
  readonly clock: Clock
  readonly view: Pick<DirectoryView, 'size'>
  /** At each epoch, by its number; one that was missed is not made up for. */
  onEpoch(epoch: number): void
}

export class Epochs {
  readonly #deps: EpochsDeps
  #timer: Timer | null = null
  #closed = false
  /** Nodes known when this was looked at last, for how many epochs they were as many, and epochs since the start. */
  #nodes = 0
  #same = 0
  #passed = 0

  constructor(deps: EpochsDeps) {
    this.#deps = deps
  }

  /** Whether first loops can be set up now. */
  get settled(): boolean {
    return this.#same >= SETTLED_EPOCHS || this.#passed >= SETTLED_AT_MOST_EPOCHS
  }

  start(): void {
    const { clock } = this.#deps
    if (this.#closed) return
    this.#timer = clock.setTimer(EPOCH_MS - (clock.unixMs() % EPOCH_MS), () => {
      this.#onEpoch()
      this.start()
    })
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #onEpoch(): void {
    const { clock, view, onEpoch } = this.#deps
    this.#passed++
    this.#same = view.size === this.#nodes ? this.#same + 1 : 0
    this.#nodes = view.size
    // A timer may fire a little early: the epoch that is meant is the nearest.
    onEpoch(Math.round(clock.unixMs() / EPOCH_MS))
  }
}
