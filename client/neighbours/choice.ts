/**
 * Whom to choose as neighbour: at random over the whole directory, by weight of capacity (capped, so that nobody buys his way in), away
 * from the networks and families of those already chosen while the directory has others. Pure. The random draw over all nodes is what
 * makes the web hard to bend: whoever wants to be next to a given node has to be a large part of the network. Spec: SPEC.md §6.4.
 */
import type { NodeId } from '../../src/bytes/index.ts'
import type { Descriptor, DirectoryView } from '../../src/directory/index.ts'
import type { Rng } from '../../src/runtime/index.ts'
import { groupOf } from './groups.ts'

/** Capacity classes above this one count no more than it. */
const WEIGHED_CLASS_MAX = 3

export interface Choice {
  readonly view: DirectoryView
  readonly self: NodeId
  /** Chosen already: not drawn again, and kept away from. */
  readonly chosen: readonly NodeId[]
  /** Not to be drawn now (failed or refused lately, being dialled). */
  readonly skip: (id: NodeId) => boolean
  readonly count: number
  readonly rng: Rng
}

/** At most `count` nodes to choose next, in random order of preference. */
export function chooseNeighbours({ view, self, chosen, skip, count, rng }: Choice): readonly NodeId[] {
  const drawn: NodeId[] = []
  const taken = new Set(chosen)
  const ranked = view
    .all()
    .filter(({ id, addresses }) => id !== self && addresses.length > 0 && !taken.has(id) && !skip(id))
    // Weighted draw without replacement (Efraimidis and Spirakis 2006).
    .map((descriptor) => ({ descriptor, key: rng.unit() ** (1 / weightOf(descriptor)) }))
    .sort((a, b) => b.key - a.key)
    .map(({ descriptor }) => descriptor)
  const together = chosen.map((id) => view.get(id)).filter((known) => known !== undefined)
  const own = view.get(self)
  if (own) together.push({ ...own, addresses: [] }) // its own network prefix is no reason against a neighbour, its family is
  for (const apart of [true, false]) {
    for (const candidate of ranked) {
      if (drawn.length >= count) return drawn
      if (taken.has(candidate.id) || (apart && together.some((other) => areRelated(candidate, other)))) continue
      taken.add(candidate.id)
      drawn.push(candidate.id)
      together.push(candidate)
    }
  }
  return drawn
}

function weightOf({ capacityClass }: Descriptor): number {
  return 1 + Math.min(capacityClass, WEIGHED_CLASS_MAX)
}

/** Whether two nodes share a network prefix or name each other as family. */
function areRelated(a: Descriptor, b: Descriptor): boolean {
  if (a.family.includes(b.id) && b.family.includes(a.id)) return true
  const groups = new Set(a.addresses.map(groupOf))
  return b.addresses.some((address) => {
    const group = groupOf(address)
    return group !== null && groups.has(group)
  })
}
