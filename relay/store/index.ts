/** Public face of the store: shares and root slots that this node keeps for others. What and why: README.md. Spec: SPEC.md §7.1. */
export { HEARD_MS, PutEffort } from './effort.ts'
export { PlaceFile } from './places.ts'
export { KEEP_HOURS_DEFAULT, STORE_SERVICE_LIMITS, type StoreAnswer, type StoreServiceLimits, storeService } from './service.ts'
export {
  KEEP_MS_MAX,
  openStore,
  type PutVerdict,
  type ShareStore,
  type StoreOptions,
  type StoreSlice,
  type StoreStats,
  SWEEP_HOLD_MS,
} from './store.ts'
export { KeyTurns } from './turns.ts'
