/** A link that notes what is pushed into its lanes, and when it is flushed. For tests of what sends by time. */
import type { NodeId } from '../../src/bytes/index.ts'
import type { CircuitId } from '../../src/cell/index.ts'
import type { Lane, Link } from '../../src/link/index.ts'
import type { FakeClock } from './fake-clock.ts'

export interface Sent {
  readonly at: number
  readonly id: number
  readonly command: number
  /** The body's first byte. */
  readonly tag: number
}

export function notedLink(clock: FakeClock): { readonly sent: Sent[]; readonly flushes: number[]; readonly link: Link } {
  const sent: Sent[] = []
  const flushes: number[] = []
  const lane = (id: CircuitId): Lane => ({
    id,
    queuedCells: 0,
    push: (command, body) => {
      sent.push({ at: clock.monotonicMs(), id, command, tag: body[0]! })
      return true
    },
    close: () => {},
  })
  const link: Link = {
    peer: 'aa' as NodeId,
    dialled: true,
    transport: 'memory',
    even: true,
    open: true,
    start: () => {},
    bill: () => {},
    lane,
    flush: () => void flushes.push(clock.monotonicMs()),
    close: () => {},
  }
  return { sent, flushes, link }
}
