/** A link that counts what a node takes from it and gives to it, by command, and the longest line of cells that waited. Touches nothing. */
import { CELL_BYTES, type CircuitId, Command, commandAt } from '../../src/cell/index.ts'
import type { Lane, Link, LinkHost, LinkReceiver } from '../../src/link/index.ts'
import { WrappedLink, watchedLane } from '../support/wrapped-link.ts'

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

class CountingLink extends WrappedLink {
  readonly #counts: CellCounts

  constructor(link: Link, counts: CellCounts) {
    super(link)
    this.#counts = counts
  }

  override start(receiver: LinkReceiver): void {
    super.start({
      onCells: (link, cells, count) => {
        for (let at = 0; at < count * CELL_BYTES; at += CELL_BYTES)
          if (commandAt(cells, at) === Command.CIRCUIT) this.#counts.circuitIn++
        receiver.onCells(link, cells, count)
      },
      onTurnEnd: () => receiver.onTurnEnd(),
      onClose: (link, reason) => receiver.onClose(link, reason),
    })
  }

  override lane(id: CircuitId): Lane {
    const lane = super.lane(id)
    const counts = this.#counts
    return watchedLane(lane, (command, _body, taken) => {
      if (!taken) counts.refused++
      else if (command === Command.CIRCUIT) counts.circuitOut++
      else if (command === Command.CONTROL) counts.controlOut++
      else if (command === Command.SETUP) counts.setUpOut++
      if (lane.queuedCells > counts.longestLane) counts.longestLane = lane.queuedCells
    })
  }
}
