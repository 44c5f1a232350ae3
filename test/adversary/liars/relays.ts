/**
 * Relays that lie: a node whose links have hands on the cells that others send through it. It is an honest node otherwise: it answers, gossips and
 * stores. Some of the cells that come in by each of its links are lost, held back, sent again, put in another order or marked before it sees them.
 */
import { Command } from '../../../src/cell/index.ts'
import type { Link, LinkHost } from '../../../src/link/index.ts'
import type { Clock, Rng } from '../../../src/runtime/index.ts'
import { type TappedCell, TappedLink } from '../../support/tap-link.ts'

/** What is done with one CIRCUIT cell. `later` hands cells to the node after a while, in order. */
export type RelayLie = (cell: TappedCell, later: (ms: number, cell: TappedCell) => void) => readonly TappedCell[]

/** The share of cells that a lie touches. */
export const PART = 0.05

/** Each lie of a relay, by name. */
export const RELAY_LIES: Readonly<Record<string, (rng: Rng) => RelayLie>> = {
  'drops 5 %': (rng) => (cell) => (rng.unit() < PART ? [] : [cell]),
  'delays all by a second': () => (cell, later) => {
    later(1_000, cell)
    return []
  },
  'sends 5 % twice': (rng) => (cell) => (rng.unit() < PART ? [cell, cell] : [cell]),
  'sends old cells in place of 5 %': (rng) => {
    const old = new Map<number, TappedCell>()
    return (cell) => {
      const before = old.get(cell.id)
      old.set(cell.id, cell)
      return before !== undefined && rng.unit() < PART ? [before] : [cell]
    }
  },
  'puts 5 % behind the next': (rng) => {
    const held = new Map<number, TappedCell>()
    return (cell) => {
      const before = held.get(cell.id)
      if (before !== undefined) {
        held.delete(cell.id)
        return [cell, before]
      }
      if (rng.unit() >= PART) return [cell]
      held.set(cell.id, cell)
      return []
    }
  },
  'marks 5 %': (rng) => (cell) => {
    if (rng.unit() >= PART) return [cell]
    const body = cell.body.slice()
    body[rng.below(body.length)]! ^= 1 << rng.below(8)
    return [{ ...cell, body }]
  },
  'drops everything once a loop is built': () => () => [],
}

/** `host` with a lie on each of its links, from when `active` says so on. */
export function lyingHost(host: LinkHost, lie: RelayLie, clock: Clock, active: () => boolean): LinkHost {
  const wrapped = (link: Link): Link => {
    const tapped = new TappedLink(link, {})
    const later = (ms: number, cell: TappedCell) => {
      clock.setTimer(ms, () => {
        if (tapped.open) tapped.inject([cell])
      })
    }
    tapped.tap.incoming = (cell) => (cell.command === Command.CIRCUIT && active() ? lie(cell, later) : [cell])
    return tapped
  }
  const lying: LinkHost = {
    id: host.id,
    get addresses() {
      return host.addresses
    },
    onInbound: (link) => link.close('local'),
    start: () => host.start(),
    close: () => host.close(),
    dial: async (peer, addresses, waiting) => wrapped(await host.dial(peer, addresses, waiting)),
  }
  host.onInbound = (link) => lying.onInbound(wrapped(link))
  return lying
}
