/** One message on one stream (SPEC §5.3): any cut, any length, refusal before memory is taken, and the limits of what goes over it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { concat, le32 } from '../../src/bytes/index.ts'
import { MESSAGE_BYTES_MAX, MessageReader, type MuxStream, sendMessage } from '../../src/stream/index.ts'
import { HOP_REPLY_BYTES_MAX, HOP_REQUEST_BYTES_MAX } from '../../src/wire/limits.ts'

/** Collects what a writer says. */
function sink() {
  const chunks: Uint8Array[] = []
  let ended = 0
  let consumed = 0
  const stream: MuxStream = {
    id: 1,
    queuedBytes: 0,
    write: (chunk) => chunks.push(chunk),
    end: () => ended++,
    reset: () => assert.fail('reset'),
    consumed: (bytes) => {
      consumed += bytes
    },
  }
  return { stream, bytes: () => concat(...chunks), ended: () => ended, consumed: () => consumed }
}

function reader(onLength?: (bytes: number) => boolean) {
  const heard: (Uint8Array | number | null)[] = []
  const events = {
    onMessage: (message: Uint8Array) => void heard.push(message),
    onFail: (code: number | null) => void heard.push(code),
  }
  return { heard, reader: new MessageReader(onLength === undefined ? events : { ...events, onLength }) }
}

/** Feeds `bytes` in pieces that end at `cuts`. */
function feed(to: MessageReader, bytes: Uint8Array, cuts: readonly number[]): void {
  let from = 0
  for (const cut of [...cuts.map((at) => at % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
    if (cut > from) to.onData(bytes, from, cut - from)
    from = cut
  }
}

test('any message in any pieces comes out as it went in, once', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), fc.array(fc.nat(4000), { maxLength: 12 }), (message, cuts) => {
      const { stream, bytes, ended, consumed } = sink()
      sendMessage(stream, message)
      assert.equal(ended(), 1)
      const { heard, reader: to } = reader()
      to.stream = stream
      feed(to, bytes(), cuts)
      assert.deepEqual(heard, [])
      to.onFin()
      to.onClose(null)
      assert.deepEqual(heard, [message])
      assert.equal(consumed(), bytes().length)
    }),
    { numRuns: 200, seed: 1 },
  )
})

test('must fail: cut short anywhere, too long by a byte, longer than the limit, refused, reset', () => {
  const message = Uint8Array.of(1, 2, 3, 4, 5)
  const whole = concat(le32(5), message)
  for (let at = 0; at < whole.length; at++) {
    const { heard, reader: to } = reader()
    feed(to, whole.subarray(0, at), [])
    to.onFin()
    to.onClose(null)
    assert.deepEqual(heard, [null])
  }
  const fail = (bytes: Uint8Array, onLength?: (bytes: number) => boolean) => {
    const { heard, reader: to } = reader(onLength)
    feed(to, bytes, [])
    feed(to, message, [1, 2])
    to.onFin()
    to.onClose(3)
    return heard
  }
  assert.deepEqual(fail(concat(whole, Uint8Array.of(0))), [null])
  assert.deepEqual(fail(le32(MESSAGE_BYTES_MAX + 1)), [null])
  assert.deepEqual(fail(le32(0xffff_ffff)), [null])
  const asked: number[] = []
  const refuse = (bytes: number) => {
    asked.push(bytes)
    return false
  }
  assert.deepEqual(fail(whole, refuse), [null])
  assert.deepEqual(asked, [5])
  const { heard, reader: to } = reader()
  feed(to, whole, [2])
  to.onClose(2)
  to.onFin()
  assert.deepEqual(heard, [2])
})

test('every message that the protocol allows fits: the longest request and the longest answer', () => {
  assert.ok(HOP_REQUEST_BYTES_MAX <= MESSAGE_BYTES_MAX)
  assert.ok(HOP_REPLY_BYTES_MAX <= MESSAGE_BYTES_MAX, `${HOP_REPLY_BYTES_MAX} bytes of answer do not fit in ${MESSAGE_BYTES_MAX}`)
})
