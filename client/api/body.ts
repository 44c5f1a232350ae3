/**
 * The body of a publish request as the library takes it: chunk by chunk as they come, with back-pressure (the socket is read only when
 * the library asks), of any length, never held whole. A client that stops sending is let go.
 */
import type { IncomingMessage } from 'node:http'
import { OverlayError } from '../../src/errors/index.ts'
import { unlessAborted, type Waiting } from '../../src/runtime/index.ts'
import { ClientGone } from '../http/index.ts'

// Implementation constants.
/** Longest silence of a client whose body is not complete. Time in which the library is busy does not count. */
export const BODY_STALL_MS = 120_000

/**
 * `request`'s body. Leaves the request open when the reader stops early, so that an answer can still be sent.
 * Errors: `TIMEOUT`, `ClientGone`, the signal's reason.
 */
export async function* bodyOf(request: IncomingMessage, { clock, signal }: Waiting): AsyncGenerator<Uint8Array, void, undefined> {
  const chunks = request.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>
  try {
    for (;;) {
      signal.throwIfAborted()
      const deadline = clock.deadline(BODY_STALL_MS, signal)
      try {
        const next = await unlessAborted(chunks.next(), deadline.signal)
        if (next.done === true) break
        yield new Uint8Array(next.value.buffer, next.value.byteOffset, next.value.byteLength)
      } catch (error) {
        throw deadline.signal.aborted && !signal.aborted ? stalled() : error
      } finally {
        deadline.clear()
      }
    }
  } finally {
    // Not awaited: while a read is pending it would wait for bytes that may never come.
    chunks.return?.().then(undefined, () => {})
  }
  if (!request.complete) throw new ClientGone('The client broke off in the middle of the body.')
}

function stalled(): OverlayError {
  return new OverlayError('timeout', 'TIMEOUT', `No byte of the body came for ${BODY_STALL_MS / 1000} s.`)
}
