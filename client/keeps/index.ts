/** Public face of keeping: publications that this node checks, renews and puts back as long as it runs. Spec: SPEC.md §7.8. */
export { KEEPS_MAX, type Keep, KeepBook, keepsText, openKeepBook, parseKeeps } from './book.ts'
export { type CareOptions, type CareParts, type CareReport, careFor } from './care.ts'
export { KEEP_BYTES_PER_HOUR, Keeper, type KeeperParts } from './keeper.ts'
export { PASS_SEGMENTS_MIN, sampleOf, windowOf } from './picks.ts'
export { receiptOf } from './receipt.ts'
export { careForRecords, type RecordCareParts } from './records.ts'
