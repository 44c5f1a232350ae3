/**
 * The ways in which a circuit may be drawn, compared by the path simulator: our loops under three rules for the links that they leave and
 * return by, and guards and strangers, as Tor draws a circuit. All walk the same web.
 */
import { drawLoop, loopMembers } from '../../client/paths.ts'
import type { NodeId } from '../../src/bytes/index.ts'
import type { Rng } from '../../src/runtime/index.ts'
import type { Web } from './web.ts'

/**
 * `chosen`: over links of the origin's own choice (what the program does). `any`: over any of its links. `pair`: always the same two of its
 * own choice, as for a pseudonym. `guards`: one long-held guard, then strangers by weight to the apex, dialled on demand.
 */
export const RULES = ['chosen', 'any', 'pair', 'guards'] as const
export type Rule = (typeof RULES)[number]

/** A circuit: all members but the origin, in order. A loop's last member is the origin's neighbour too; a line ends at its apex. */
export interface Walk {
  readonly origin: NodeId
  readonly hops: readonly NodeId[]
  readonly apex: number
  readonly loop: boolean
}

/** The links that an origin may leave by. */
export interface Exits {
  readonly neighbours: readonly NodeId[]
  readonly chosen: readonly NodeId[]
}

export function exitsOf(web: Web, origin: NodeId, rule: Rule): Exits {
  const neighbours = [...web.links.get(origin)!]
  const own = web.chosen.get(origin)!
  return { neighbours, chosen: rule === 'any' ? neighbours : rule === 'pair' ? own.slice(0, 2) : own }
}

/** One circuit from `origin` to a random apex, or `null` if the web has none. */
export function walk(web: Web, origin: NodeId, rule: Rule, exits: Exits, rng: Rng): Walk | null {
  if (rule === 'guards') return line(web, origin, exits, rng)
  const drawn = drawLoop({
    view: web.view,
    self: origin,
    neighbours: exits.neighbours,
    chosen: exits.chosen,
    members: loopMembers(web.ids.length),
    rng,
  })
  return drawn === null ? null : { origin, hops: drawn.hops, apex: drawn.apexIndex, loop: true }
}

/** Guard, two strangers, apex. */
function line(web: Web, origin: NodeId, { chosen }: Exits, rng: Rng): Walk | null {
  const hops = [chosen[0]!]
  const taken = new Set([origin, hops[0]!])
  while (hops.length < 4) {
    const next = hops.length === 3 ? web.ids[rng.below(web.ids.length)]! : web.draw(rng)
    if (taken.has(next)) continue
    taken.add(next)
    hops.push(next)
  }
  return { origin, hops, apex: 3, loop: false }
}

/** Members beside the origin, and beside the apex. */
export function ends({ hops, apex, loop }: Walk): { readonly origin: readonly NodeId[]; readonly apex: readonly NodeId[] } {
  const beside = [hops[apex - 1]!, ...(loop ? [hops[apex + 1]!] : [])]
  return { origin: loop ? [hops[0]!, hops.at(-1)!] : [hops[0]!], apex: beside }
}
