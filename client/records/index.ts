/**
 * Public face of records: looking up what a key's owner says now, and keeping up what this node's own keys say. What is inside of a record,
 * and how holders are kept from reading, forging and linking it: SPEC.md §10.
 */
export { type FinderDeps, HolderRecordFinder } from './finder.ts'
export { type OpenedRecords, openRecords, type RecordsDeps } from './open.ts'
export { HolderRecordPublisher, type PublisherDeps } from './publisher.ts'
export {
  type FoundRecord,
  type KeyRecord,
  RECORD_CACHE_MS,
  type RecordAsking,
  type RecordFinder,
  type RecordParts,
  type RecordPublisher,
  type ServicePart,
  type ServicePoint,
  type SitePart,
} from './records.ts'
export { SeenRecords } from './seen.ts'
