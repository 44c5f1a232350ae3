/** What origins can make an apex hold, and for how long (SPEC §5.3). Streams by hand, a fake clock. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ANSWER_TIMEOUT_MS, APEX_BYTES_MAX, Apex, REQUEST_TIMEOUT_MS, STREAM_BYTES } from '../../relay/apex.ts'
import { concat, le32 } from '../../src/bytes/index.ts'
import { type MuxStream, ResetCode, type StreamEvents } from '../../src/stream/index.ts'
import { encodeHopRequest } from '../../src/wire/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** A stream that nobody reads from. */
class UnreadStream implements MuxStream {
  readonly id = 1
  queuedBytes = 0
  resetWith: number | null = null
  write(chunk: Uint8Array): void {
    this.queuedBytes += chunk.length
  }
  end(): void {}
  reset(code: number): void {
    this.resetWith = code
  }
  consumed(): void {}
}

/** A circuit that takes no exchange. */
const NO_PORT = { attach: () => false }

function startApex() {
  const clock = new FakeClock()
  const store = async () => ({ status: 'ok', body: new Uint8Array(0) }) as const
  return { clock, apex: new Apex({ services: { store }, clock }) }
}

/** Opens a stream that the apex must take. */
function open(apex: Apex): { readonly stream: UnreadStream; readonly events: StreamEvents } {
  const stream = new UnreadStream()
  const events = apex.accept(stream, NO_PORT)
  assert.ok(typeof events !== 'number')
  return { stream, events }
}

test('streams that carry nothing are charged too, refused above the limit, and gone after the time for a request', async () => {
  const { clock, apex } = startApex()
  const streams = Array.from({ length: APEX_BYTES_MAX / STREAM_BYTES }, () => open(apex))
  assert.equal(apex.accept(new UnreadStream(), NO_PORT), ResetCode.BUSY)
  streams[0]!.events.onClose(null)
  open(apex)
  assert.equal(apex.accept(new UnreadStream(), NO_PORT), ResetCode.BUSY)
  await clock.advance(REQUEST_TIMEOUT_MS)
  assert.ok(streams.slice(1).every(({ stream }) => stream.resetWith === ResetCode.REFUSED))
  assert.ok(apex.hold(APEX_BYTES_MAX), 'nothing is held any more')
})

test('an answer that nobody takes is dropped after a while, and its memory is free again', async () => {
  const { clock, apex } = startApex()
  const { stream, events } = open(apex)
  const request = encodeHopRequest({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 60_000 })
  const message = concat(le32(request.length), request)
  events.onData(message, 0, message.length)
  events.onFin()
  await clock.settle()
  assert.ok(stream.queuedBytes > 60_000)
  assert.equal(apex.hold(APEX_BYTES_MAX - 60_000), false)
  await clock.advance(ANSWER_TIMEOUT_MS - 1)
  assert.equal(stream.resetWith, null)
  await clock.advance(1)
  assert.equal(stream.resetWith, ResetCode.CANCELLED)
  assert.ok(apex.hold(APEX_BYTES_MAX))
})

test('an answer that was taken leaves no timer', async () => {
  const { clock, apex } = startApex()
  const { stream, events } = open(apex)
  const request = encodeHopRequest({ kind: 'ping', filler: new Uint8Array(0), answerBytes: 10 })
  const message = concat(le32(request.length), request)
  events.onData(message, 0, message.length)
  events.onFin()
  await clock.settle()
  events.onClose(null)
  await clock.advance(2 * ANSWER_TIMEOUT_MS)
  assert.equal(stream.resetWith, null)
  assert.ok(apex.hold(APEX_BYTES_MAX))
})
