/**
 * What publishing and looking up records ask of the network: put or get one record at one node. As `network.ts`, which is for shares.
 */
import type { NodeId } from '../bytes/index.ts'
import type { SignedRecord } from '../wire/index.ts'
import type { AskTiming, ShareWork } from './network.ts'

export interface RecordNetwork extends AskTiming {
  /** This node; a candidate holder like every other. */
  readonly self: NodeId
  /** Every node that may hold records now, this one included. */
  holders(): readonly NodeId[]
  /** Errors: `STORE_REFUSED` (also: a newer one is there), `STORE_UNREACHABLE`, `TIMEOUT`. */
  putRecord(node: NodeId, record: SignedRecord, work: ShareWork): Promise<void>
  /** The record under a blinded key, lengths right, nothing verified; `null` if the node has none. Errors: `STORE_UNREACHABLE`, `TIMEOUT`. */
  getRecord(node: NodeId, publicKey: Uint8Array, work: ShareWork): Promise<SignedRecord | null>
}
