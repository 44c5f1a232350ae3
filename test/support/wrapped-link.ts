/** A link that stands before another and passes everything on: what looks at a node's cells or changes them overrides what it needs. */
import type { NodeId } from '../../src/bytes/index.ts'
import type { CircuitId, Command } from '../../src/cell/index.ts'
import type { Lane, Link, LinkCloseReason, LinkReceiver } from '../../src/link/index.ts'

export class WrappedLink implements Link {
  readonly #link: Link

  constructor(link: Link) {
    this.#link = link
  }

  get peer(): NodeId {
    return this.#link.peer
  }
  get dialled(): boolean {
    return this.#link.dialled
  }
  get transport(): Link['transport'] {
    return this.#link.transport
  }
  get even(): boolean {
    return this.#link.even
  }
  get open(): boolean {
    return this.#link.open
  }

  /** The receiver hears this link's name for the other's. */
  start(receiver: LinkReceiver): void {
    this.#link.start({
      onCells: (_, cells, count) => receiver.onCells(this, cells, count),
      onTurnEnd: () => receiver.onTurnEnd(),
      onClose: (_, reason) => receiver.onClose(this, reason),
    })
  }

  lane(id: CircuitId): Lane {
    return this.#link.lane(id)
  }

  flush(): void {
    this.#link.flush()
  }

  bill(ms: number): void {
    this.#link.bill(ms)
  }

  close(reason: LinkCloseReason): void {
    this.#link.close(reason)
  }
}

/** `lane`; `seen` hears of each push, after it. `body` is borrowed until return: the link may not change what it was given, but the caller reuses it. */
export function watchedLane(lane: Lane, seen: (command: Command, body: Uint8Array, taken: boolean) => void): Lane {
  return {
    id: lane.id,
    get queuedCells() {
      return lane.queuedCells
    },
    push(command, body) {
      const taken = lane.push(command, body)
      seen(command, body, taken)
      return taken
    },
    close: () => lane.close(),
  }
}
