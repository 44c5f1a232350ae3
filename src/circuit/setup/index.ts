/** Public face of set-up: the packet that builds a loop in one round. Both sides, its cells, its key schedule. Spec: SPEC.md §4.3. */
export { type AssemblyVerdict, isFirstPart, SetUpAssembler, setUpCells } from './cells.ts'
export {
  ASSEMBLIES_MAX,
  ASSEMBLY_MS,
  EPOCH_MS,
  HOLD_MS,
  LIFE_MAX_MS,
  LIVE_LEAD_MAX_MS,
  LIVE_LEAD_MS,
  MEMBERS_MAX,
  MEMBERS_MIN,
  RATE_LADDER,
  RECORDS,
  SETUP_BYTES,
  SETUP_CELLS,
  SETUP_PART_BYTES,
  TWIN_LEAD_MS,
} from './constants.ts'
export {
  ephemeralOf,
  type HopSurroundings,
  type OnionKeyFinder,
  type OnionKeyPair,
  openSetUp,
  type SetUpDrop,
  type SetUpVerdict,
} from './hop.ts'
export { PRIMITIVES, type SetUpLayer, type SetUpPrimitives, wipeLayer } from './keys.ts'
export { buildSetUp, type SetUpBuild, type SetUpMember, type SetUpRequest } from './origin.ts'
export { PendingSetUp } from './pending.ts'
export {
  epochAfter,
  epochAt,
  type PacedWish,
  pacedPlan,
  rateOf,
  refusePlan,
  SUPPORTED_CLOCKS,
  swiftPlan,
  tickMsFor,
  twinPlan,
} from './plan.ts'
export type { LoopClock, SetUpPlan } from './record.ts'
export { type Admission, REPLAY_ENTRIES_MAX, ReplayCache, type ReplayGuard } from './replay-cache.ts'
