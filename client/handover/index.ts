/** Public face of hand-over: what this node keeps for others is copied to newcomers that rank first for it. Spec: SPEC.md §7.9. */
export {
  HANDOVER_BYTES_PER_HOUR,
  HandOver,
  type HandOverParts,
  type HandOverStats,
  type HandOverStore,
  SETTLED_MS,
} from './handover.ts'
