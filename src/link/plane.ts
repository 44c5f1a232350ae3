/**
 * The border between the cell plane (the switch, which is the receiver of every link) and the control plane (which opens, greets and
 * closes links). The plane knows cells and nothing of what control messages say; the sink knows messages and never sees a circuit's
 * cell. Spec: SPEC.md §3.4.
 */
import type { Lane, Link, LinkCloseReason, LinkReceiver } from './index.ts'

/** What the owner of the links asks of the switch. */
export interface CellPlane {
  /** The receiver to start every link with, in the turn in which the link was got. */
  readonly receiver: LinkReceiver
  /** From now on circuits may pass this link: both sides agreed. Until then, and after `removeNeighbour`, only CONTROL and PAD cells count. */
  addNeighbour(link: Link): void
  /** No circuit may pass any more; those that did end. Also called for each neighbour link that closed. Idempotent. */
  removeNeighbour(link: Link): void
  /** A lane for CONTROL cells in the constant slots of a neighbour link (SPEC.md §4.5). Absent or `null`: they go at once, in any lane with id 0. */
  controlLane?(link: Link): Lane | null
}

/** What the switch tells the owner of the links. Calls may come in the same turn as `link.start`, never inside it. */
export interface ControlSink {
  /** A CONTROL cell with circuit id 0. `body` is `BODY_BYTES` long and borrowed until return. */
  onControlCell(link: Link, body: Uint8Array): void
  /** Exactly once for each link that was started. */
  onLinkClosed(link: Link, reason: LinkCloseReason): void
}
