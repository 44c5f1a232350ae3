/** What went out in one payload, so that it can go again if the payload is lost. Pure, and reused: nothing is allocated per payload. */
import type { Stream } from './stream.ts'

/** What a payload carried. */
export const Sent = {
  OPEN: 0,
  OPENED: 1,
  /** Bytes `from` … `to` of a stream. */
  BYTES: 2,
  FIN: 3,
  STREAM_CREDIT: 4,
  SESSION_CREDIT: 5,
  STREAMS: 6,
  RESET: 7,
  PING: 8,
} as const
export type Sent = (typeof Sent)[keyof typeof Sent]

export class SentPayload {
  number = 0
  sentAt = 0
  /** Items noted. The arrays behind it may be longer. */
  count = 0
  readonly kinds: Sent[] = []
  readonly streams: (Stream | null)[] = []
  readonly froms: number[] = []
  readonly tos: number[] = []

  note(kind: Sent, stream: Stream | null, from = 0, to = 0): void {
    const at = this.count++
    this.kinds[at] = kind
    this.streams[at] = stream
    this.froms[at] = from
    this.tos[at] = to
  }

  /** Forgets the items, and the streams that they hold on to. */
  clear(): void {
    for (let at = 0; at < this.count; at++) this.streams[at] = null
    this.count = 0
  }
}
