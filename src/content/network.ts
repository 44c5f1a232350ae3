/**
 * What publishing and fetching ask of the network: put or get one share or root slot at one node. The content layer owns this
 * interface and knows nothing of loops; `client/shares.ts` implements it over them, tests over a map.
 */
import type { NodeId } from '../bytes/index.ts'
import type { Patience } from './holder-health.ts'

/** One stored variant of a root slot. */
export interface SlotValue {
  /** 32 bytes: Ed25519. */
  readonly publicKey: Uint8Array
  readonly slot: number
  /** Sealed root. */
  readonly value: Uint8Array
  /** 64 bytes, checked by store and reader alike. */
  readonly signature: Uint8Array
}

/** Where the time of a piece of work is noted: the part of `client/trace` that content and the network below it use. */
export interface WorkTrace {
  stage(name: string): (how?: { readonly note?: string; readonly loop?: number; readonly failed?: boolean }) => void
  mark(name: string, note?: string, how?: { readonly loop?: number; readonly failed?: boolean }): void
}

/** Tells shares of one piece of work apart from those of another: loops are not shared between groups. */
export interface ShareWork {
  readonly signal: AbortSignal
  readonly trace?: WorkTrace | undefined
}

/** A put may ask to be kept for another time than a publication is. */
export interface PutWork extends ShareWork {
  /** Default: 720, as for what is published. */
  readonly keepHours?: number
}

/** Asks whether a share is there; see `proof.ts`. */
export interface ShareCheck {
  /** 32 bytes. */
  readonly address: Uint8Array
  /** 16 bytes, never used before. */
  readonly nonce: Uint8Array
  /** To be kept so long from now on; 0: its time stays as it is. */
  readonly keepHours: number
}

/** The same for a value of a root slot. */
export interface SlotCheck {
  readonly location: Uint8Array
  readonly valueHash: Uint8Array
  readonly nonce: Uint8Array
  readonly keepHours: number
}

/** What a network says that can make asks wait for their turn. */
export interface AskTiming {
  /** How long its answers may take. Default: as in `holder-health.ts`. */
  readonly patience?: Patience | undefined
  /** Asks of one piece of work that are to be under way at once, to fill a long way round. Default: as few as its parts are content with. */
  readonly asksAtOnce?: number | undefined
  /**
   * Waits until an ask of `node`, with `bytes` to go one way or the other, can go at once, and keeps its place for the next ask of that node.
   * Who times an ask waits here first: the wait is not the holder's. Absent: an ask can always go. Errors: the signal's reason.
   */
  readonly ready?: ((node: NodeId, bytes: number, waiting: { readonly signal: AbortSignal }) => Promise<void>) | undefined
  /**
   * Whether an ask of `node` waits for no more than room: a loop to it is there. Who can ask several nodes for the same asks these first. Absent: all
   * are as near.
   */
  readonly near?: ((node: NodeId) => boolean) | undefined
}

export interface ShareNetwork extends AskTiming {
  /** This node; it is a candidate holder like every other, so that its absence gives nothing away. */
  readonly self: NodeId
  /** Every node that may hold shares now, this one included; the order means nothing. */
  holders(): readonly NodeId[]
  /** Stores `share` (65536 bytes, borrowed until the promise settles) at `node`. Errors: `STORE_REFUSED`, `STORE_UNREACHABLE`, `TIMEOUT`. */
  putShare(node: NodeId, share: Uint8Array, work: PutWork): Promise<void>
  /** The share, not yet verified, or `null` if the node has none. Errors: `STORE_UNREACHABLE`, `TIMEOUT`. */
  getShare(node: NodeId, address: Uint8Array, work: ShareWork): Promise<Uint8Array | null>
  putSlot(node: NodeId, slot: SlotValue, work: PutWork): Promise<void>
  /** At most 4 variants, not yet verified; none if the node has none. */
  getSlots(node: NodeId, location: Uint8Array, work: ShareWork): Promise<readonly SlotValue[]>
  /** The node's proof, not yet verified, or `null` if it says that it has none. Errors: as `getShare`; `STORE_REFUSED`: it does not keep it on. */
  checkShare(node: NodeId, check: ShareCheck, work: ShareWork): Promise<Uint8Array | null>
  checkSlot(node: NodeId, check: SlotCheck, work: ShareWork): Promise<Uint8Array | null>
}
