/** A link that counts what a node takes from it and gives to it, by command, and the longest line of cells that waited. Touches nothing. */
import type { NodeId } from '../../src/bytes/index.ts'
import { CELL_BYTES, type CircuitId, Command, commandAt } from '../../src/cell/index.ts'
import type { Lane, Link, LinkCloseReason, LinkHost, LinkReceiver } from '../../src/link/index.ts'

/** Of one node, over all of its links. */
export interface CellCounts {
  circuitIn: number
  circuitOut: number
  controlOut: number
  setUpOut: number
  /** Cells that a lane did not take. */
  refused: number
  longestLane: number
}

export function noCells(): CellCounts {
  return { circuitIn: 0, circuitOut: 0, controlOut: 0, setUpOut: 0, refused: 0, longestLane: 0 }
}

/** `host`, with every link counted. */
export function countingHost(host: LinkHost, counts: CellCounts): LinkHost {
  const counting: LinkHost = {
    id: host.id,
    get addresses() {
      return host.addresses
    },
    onInbound: (link) => link.close('local'),
    start: () => host.start(),
    close: () => host.close(),
    dial: async (peer, addresses, waiting) => new CountingLink(await host.dial(peer, addresses, waiting), counts),
  }
  host.onInbound = (link) => counting.onInbound(new CountingLink(link, counts))
  return counting
}

class CountingLink implements Link {
  readonly #link: Link
  readonly #counts: CellCounts

  constructor(link: Link, counts: CellCounts) {
    this.#link = link
    this.#counts = counts
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

  start(receiver: LinkReceiver): void {
    this.#link.start({
      onCells: (_, cells, count) => {
        for (let at = 0; at < count * CELL_BYTES; at += CELL_BYTES)
          if (commandAt(cells, at) === Command.CIRCUIT) this.#counts.circuitIn++
        receiver.onCells(this, cells, count)
      },
      onTurnEnd: () => receiver.onTurnEnd(),
      onClose: (_, reason) => receiver.onClose(this, reason),
    })
  }

  lane(id: CircuitId): Lane {
    const lane = this.#link.lane(id)
    const counts = this.#counts
    return {
      id: lane.id,
      get queuedCells() {
        return lane.queuedCells
      },
      push(command, body) {
        const taken = lane.push(command, body)
        if (!taken) counts.refused++
        else if (command === Command.CIRCUIT) counts.circuitOut++
        else if (command === Command.CONTROL) counts.controlOut++
        else if (command === Command.SETUP) counts.setUpOut++
        if (lane.queuedCells > counts.longestLane) counts.longestLane = lane.queuedCells
        return taken
      },
      close: () => lane.close(),
    }
  }

  flush(): void {
    this.#link.flush()
  }

  close(reason: LinkCloseReason): void {
    this.#link.close(reason)
  }
}
