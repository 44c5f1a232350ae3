/** Public face of healing on read: what reads find missing is put back, later and within a budget. Spec: SPEC.md §7.7. */
export { type GapParts, ReadGaps, type SeenRoot, type SeenSegment } from './gaps.ts'
export { HEAL_BYTES_PER_HOUR, HEAL_DELAY_MS, HEAL_QUEUE_BYTES, HEALED_AGAIN_MS, Healer, type HealerStats } from './healer.ts'
export { type GapKind, type Loss, lostShare, lostSlot } from './losses.ts'
