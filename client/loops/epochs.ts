/**
 * Public epochs as the sets of own loops follow them: one call in each, at a fixed time after it began. And whether the directory has settled since the node's start: in a young
 * network loops would come out short, so the first ones wait until as many nodes are known as a while ago, but not for ever. Spec: SPEC.md §4.6.
 */
import { EPOCH_MS } from '../../src/circuit/setup/index.ts'
import type { DirectoryView } from '../../src/directory/index.ts'
import type { Clock, Timer } from '../../src/runtime/index.ts'
import { DECISION_MS } from './set-up-time.ts'

// Implementation constants.
/** So long the directory has been the same, or else so long the node waits at most. */
const SETTLED_EPOCHS = 4_000 / EPOCH_MS
const SETTLED_AT_MOST_EPOCHS = 30_000 / EPOCH_MS

export class Epochs {
  readonly #clock: Clock
  readonly #onEpoch: (epoch: number) => void
  #timer: Timer | null = null
  #epoch = 0
  #closed = false

  /** `onEpoch`: in each epoch, by its number; one that was missed is not made up for. */
  constructor(clock: Clock, onEpoch: (epoch: number) => void) {
    this.#clock = clock
    this.#onEpoch = onEpoch
  }

  start(): void {
    if (this.#closed) return
    const now = this.#clock.unixMs()
    const due = Math.ceil((now - DECISION_MS) / EPOCH_MS)
    const next = due === this.#epoch ? due + 1 : due // a timer may have fired a little early
    this.#timer = this.#clock.setTimer(Math.max(0, next * EPOCH_MS + DECISION_MS - now), () => {
      this.#epoch = Math.floor(this.#clock.unixMs() / EPOCH_MS)
      this.#onEpoch(this.#epoch)
      this.start()
    })
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }
}

/** Whether as many nodes are known as a while ago, looked at once an epoch. */
export class Settling {
  /** Nodes known when this was looked at last, for how many epochs they were as many, and epochs since the start. */
  #nodes = 0
  #same = 0
  #passed = 0

  get settled(): boolean {
    return this.#same >= SETTLED_EPOCHS || this.#passed >= SETTLED_AT_MOST_EPOCHS
  }

  onEpoch({ size }: Pick<DirectoryView, 'size'>): void {
    this.#passed++
    this.#same = size === this.#nodes ? this.#same + 1 : 0
    this.#nodes = size
  }
}
