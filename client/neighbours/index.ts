/** Public face of the neighbours: the owner of this node's links. What each file decides is said at its top. Spec: SPEC.md §3.4, §6.4. */
export { groupOf } from './groups.ts'
export { type NeighbourLimits, Neighbours, type NeighboursDeps } from './neighbours.ts'
export type { OwnClaims } from './publisher.ts'
