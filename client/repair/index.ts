/** Public face of repair: passes over a publication that check, renew and put back its shares. Spec: SPEC.md §7.8. */
export { type Challenge, type Lot, type SlotLot, segmentLot, slotLot } from './lots.ts'
export { AWAY_MS, allSegments, isAsPromised, type PassOptions, type PassReport, runPass, type SegmentAt } from './pass.ts'
export { type Claim, type Roll, RollCall, type RollParts } from './roll-call.ts'
export { RECEIPT_SEGMENTS, receiptSegments } from './sample.ts'
