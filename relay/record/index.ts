/** Public face of the record holder: signed records that this node keeps for others. What and why: README.md. Spec: SPEC.md §10.5. */
export {
  openRecordHolder,
  RECORD_PLACE_BYTES,
  RECORDS_MAX,
  type RecordHolder,
  type RecordHolderOptions,
  type RecordHolderStats,
  type RecordVerdict,
} from './holder.ts'
export { RECORD_SERVICE_LIMITS, type RecordAnswer, type RecordServiceLimits, recordService } from './service.ts'
