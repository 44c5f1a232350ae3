/**
 * What the thread of the links and the rest of the node say to each other about links: the kinds of records, with what their numbers and bytes
 * are. Links go by numbers that their thread gives. Kinds from `OTHER_KINDS` on are not of links (`relay/line-kinds.ts`). Nothing of this leaves
 * the process.
 */
import type { LinkFacts } from '../cell-link.ts'
import type { LinkLimits } from '../libp2p/index.ts'

/** To the links' thread. Text is JSON in UTF-8. */
export const ToLinks = {
  /** A call (id: its number; text: `Call`), and that it is not waited for any more. */
  CALL: 1,
  ABORT: 2,
  /** Of link `id`: whole cells; stop and go on reading; end when all is written; end at once. */
  WRITE: 10,
  PAUSE: 11,
  RESUME: 12,
  END: 13,
  DESTROY: 14,
} as const

/** From the links' thread. */
export const FromLinks = {
  /** Call `id` is done (text: `Answer`). */
  ANSWER: 1,
  /** To the operator (a: 0 debug, 1 error; text). */
  LOG: 2,
  /** Link `id` is there (text: `LinkFacts`), and for an accepted one, that it is this side's. */
  OPENED: 10,
  INBOUND: 11,
  /** Of link `id`: bytes that came; its oldest `WRITE` is finished; it ended (a: `LINK_ENDS`); the host closes it (a: `LINK_ENDS`). */
  BYTES: 12,
  WRITTEN: 13,
  ENDED: 14,
  CLOSED: 15,
} as const

export const LINK_ENDS = ['local', 'remote', 'protocol', 'timeout', 'overload', 'error'] as const
export type LinkEnd = (typeof LINK_ENDS)[number]

/** The first kind that is not of links. */
export const OTHER_KINDS = 20

/** What the thread is asked, and what it answers. */
export type Call =
  | { readonly op: 'start' | 'close' }
  | { readonly op: 'dial'; readonly peer: LinkFacts['peer']; readonly addresses: readonly string[] }

export type Answer =
  /** `start`: where this node can be dialled; `dial`: the number of the link. */
  | { readonly addresses?: readonly string[]; readonly link?: number }
  | { readonly failed: { readonly kind: string; readonly code: string; readonly message: string } }

/** What the thread is started with. */
export interface ThreadOptions {
  readonly toLinks: SharedArrayBuffer
  readonly fromLinks: SharedArrayBuffer
  readonly signingSeed: Uint8Array
  readonly listen: readonly string[]
  readonly announce?: readonly string[]
  readonly limits?: Partial<LinkLimits>
  readonly directRead?: boolean
  /** Of one moment: this node's monotonic clock, and the machine's in nanoseconds. The thread's clock is to be the same. */
  readonly moment: { readonly monotonicMs: number; readonly machineNs: bigint }
  /** For what is not of links. */
  readonly other?: unknown
}

export function encodeText(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}

/** Bytes of a record as what its other side encoded: this process's own, so that nothing is checked. */
export function decodeText<T>(bytes: Uint8Array): T {
  return JSON.parse(new TextDecoder().decode(bytes.slice())) as T
}
