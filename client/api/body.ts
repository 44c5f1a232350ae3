/**
 * The body of a publish request as the library takes it: chunk by chunk as they come, with back-pressure (the socket is read only when
 * the library asks), of any length, never held whole. A client that stops sending is let go.
 */
import type { IncomingMessage } from 'node:http'
import { OverlayError } from '../../src/errors/index.ts'
import { laterTurn, unlessAborted, type Waiting } from '../../src/runtime/index.ts'
import { ClientGone } from '../http/index.ts'

// Implementation constants.
/** Longest silence of a client whose body is not complete. Time in which the library is busy does not count. */
export const BODY_STALL_MS = 120_000
/** What is looked at and enciphered in one turn of the event loop: a millisecond or two of work. */
const PIECE_BYTES = 32 * 1024

/**
 * `request`'s body, a piece in a turn (ARCHITECTURE D-109). Leaves the request open when the reader stops early, so that an answer can still be sent.
 * Errors: `TIMEOUT`, `ClientGone`, the signal's reason.
 */
export async function* bodyOf(request: IncomingMessage, { clock, signal }: Waiting): AsyncGenerator<Uint8Array, void, undefined> {
  const chunks = request.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>
  try {
    for (;;) {
      signal.throwIfAborted()
      const deadline = clock.deadline(BODY_STALL_MS, signal)
      let chunk: Uint8Array
      try {
        const next = await unlessAborted(chunks.next(), deadline.signal)
        if (next.done === true) break
        chunk = new Uint8Array(next.value.buffer, next.value.byteOffset, next.value.byteLength)
      } catch (error) {
        throw deadline.signal.aborted && !signal.aborted ? stalled() : error
      } finally {
        deadline.clear()
      }
      for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
        await laterTurn(clock)
        yield chunk.subarray(at, at + PIECE_BYTES)
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
