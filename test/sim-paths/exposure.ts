/**
 * How long it takes until an adversary sits beside the origin and beside the apex of one circuit, with churn: honest nodes come and go, the
 * adversary's stay. Neighbours are kept as the program keeps them (SPEC.md §6.4): held for 2 to 4 weeks, substituted while away within a
 * budget, dropped after 7 days away, 12 at most. Beside it guards as Tor keeps them: the first that is up of a list of three, each held for
 * 60 to 120 days.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import type { Rng } from '../../src/runtime/index.ts'
import { type Exits, ends, type Rule, walk } from './walks.ts'
import { type Adversary, CHOSEN, type Web } from './web.ts'

const HOUR = 1
const DAY = 24 * HOUR
/** Mean hours of a session and of an absence: a median session of 8 h, as measured of peer-to-peer networks (Stutzbach and Rejaie 2006). */
const UP_HOURS = 8 / Math.LN2
const DOWN_HOURS = 8
const ENTRIES_MAX = 12
const SUBSTITUTES_AT_ONCE = 12
const HOURS_PER_SUBSTITUTE = 2

export interface Exposure {
  readonly adversary: Adversary
  /** Share of origins of which some circuit was held at both ends, by the end of each day. */
  readonly byDay: readonly number[]
  /** Share of all circuits held at both ends. */
  readonly circuits: number
  /** Share of all circuits with the adversary beside the origin. */
  readonly besideOrigin: number
}

interface Entry {
  readonly id: NodeId
  readonly until: number
  awaySince: number | null
}

/** One origin's neighbours over time. */
class Keeper {
  readonly #web: Web
  readonly #self: NodeId
  readonly #rule: Rule
  readonly #rng: Rng
  #entries: Entry[] = []
  #budget = SUBSTITUTES_AT_ONCE

  constructor(web: Web, self: NodeId, rule: Rule, rng: Rng) {
    this.#web = web
    this.#self = self
    this.#rule = rule
    this.#rng = rng
    while (this.#entries.length < (rule === 'guards' ? 3 : CHOSEN)) this.#add(0)
  }

  #add(now: number): void {
    const days = this.#rule === 'guards' ? 60 + 60 * this.#rng.unit() : 14 + 14 * this.#rng.unit()
    for (let tries = 0; tries < 100; tries++) {
      const id = this.#web.draw(this.#rng)
      if (id === this.#self || this.#entries.some((entry) => entry.id === id)) continue
      this.#entries.push({ id, until: now + days * DAY, awaySince: null })
      return
    }
  }

  /** The links to leave by at `now`. */
  exits(now: number, isUp: (id: NodeId) => boolean): Exits {
    for (const entry of this.#entries) entry.awaySince = isUp(entry.id) ? null : (entry.awaySince ?? now)
    this.#entries = this.#entries.filter(
      ({ until, awaySince }) => until > now && (awaySince === null || now - awaySince < 7 * DAY),
    )
    this.#budget = Math.min(SUBSTITUTES_AT_ONCE, this.#budget + HOUR / HOURS_PER_SUBSTITUTE)
    const wanted = this.#rule === 'guards' ? 3 : CHOSEN
    while (this.#entries.length < wanted) this.#add(now)
    const up = () => this.#entries.filter(({ awaySince }) => awaySince === null)
    while (this.#rule !== 'guards' && up().length < CHOSEN && this.#budget >= 1 && this.#entries.length < ENTRIES_MAX) {
      this.#budget--
      this.#add(now)
      const added = this.#entries.at(-1)!
      added.awaySince = isUp(added.id) ? null : now
    }
    const chosen = up().map(({ id }) => id)
    if (this.#rule === 'any') {
      // Those that chose this node count as well: they are part of the web and come and go like all others.
      const accepted = [...this.#web.links.get(this.#self)!].filter(isUp)
      const all = [...new Set([...chosen, ...accepted])]
      return { chosen: all, neighbours: all }
    }
    return { chosen: this.#rule === 'pair' ? chosen.slice(0, 2) : chosen, neighbours: chosen }
  }
}

/** Runs `days` days of `origins` origins, `perDay` circuits a day each. */
export function exposure(
  web: Web,
  rule: Rule,
  hostile: readonly Adversary[],
  { days, origins, perDay, rng }: { readonly days: number; readonly origins: number; readonly perDay: number; readonly rng: Rng },
): Exposure[] {
  const largest = new Set(hostile.flatMap(({ nodes }) => [...nodes]))
  const presence = new Map(web.ids.map((id) => [id, { up: rng.unit() < UP_HOURS / (UP_HOURS + DOWN_HOURS), until: 0 }]))
  for (const state of presence.values()) state.until = stay(state.up, rng)
  let now = 0
  const isUp = (id: NodeId): boolean => {
    const state = presence.get(id)!
    while (state.until <= now) {
      state.up = !state.up
      state.until += stay(state.up, rng)
    }
    return state.up
  }
  // An adversary's node is always up, for the measurement of that adversary; nodes hostile in some measurement are up in all.
  const reachable = (id: NodeId) => largest.has(id) || isUp(id)
  const honest = web.ids.filter((id) => !largest.has(id))
  const keepers = Array.from({ length: origins }, () => {
    const self = honest[rng.below(honest.length)]!
    return { self, keeper: new Keeper(web, self, rule, rng) }
  })
  const caught = hostile.map(() => new Set<number>())
  const held = hostile.map(() => 0)
  const beside = hostile.map(() => 0)
  const byDay: number[][] = hostile.map(() => [])
  let circuits = 0
  for (let day = 0; day < days; day++) {
    for (let step = 0; step < perDay; step++) {
      now += DAY / perDay
      for (const [index, { self, keeper }] of keepers.entries()) {
        const exits = keeper.exits(now, reachable)
        if (exits.chosen.length < (rule === 'guards' ? 1 : 2)) continue
        const found = walk(web, self, rule, exits, rng)
        if (found === null) continue
        circuits++
        const { origin, apex } = ends(found)
        for (const [at, { nodes }] of hostile.entries()) {
          const near = origin.some((id) => nodes.has(id))
          if (near) beside[at]!++
          if (!near || !apex.some((id) => nodes.has(id))) continue
          held[at]!++
          caught[at]!.add(index)
        }
      }
    }
    for (const [at, days] of byDay.entries()) days.push(caught[at]!.size / origins)
  }
  return hostile.map((adversary, at) => ({
    adversary,
    byDay: byDay[at]!,
    circuits: held[at]! / Math.max(1, circuits),
    besideOrigin: beside[at]! / Math.max(1, circuits),
  }))
}

/** Hours until the next change of a node that came up or went down. */
function stay(up: boolean, rng: Rng): number {
  return -Math.log(1 - rng.unit()) * (up ? UP_HOURS : DOWN_HOURS)
}
